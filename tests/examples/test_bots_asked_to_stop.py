"""The bots, when somebody wants them to stop: those that talk to a provider with a microphone, and all before they talk."""

from __future__ import annotations

import os
import signal
import sys
from collections.abc import AsyncIterator, Callable, Iterator, Sequence
from contextlib import asynccontextmanager, contextmanager
from pathlib import Path
from types import ModuleType

import anyio
import pytest

from examples import agent_loop, gemini_bot, offline_bot, openai_bot, trio_bot
from realtime_async.testing.loopback.gemini import GeminiAnswer, GeminiScript, LoopbackGemini
from realtime_async.testing.loopback.hearing import numbered_audio
from realtime_async.testing.loopback.openai import Answer, Call, LoopbackOpenAI, OpenAIScript
from tests.audio.fake_sounddevice import running_devices
from tests.examples.watching import BACKENDS, found, journal_of

SIGNALS = (signal.SIGTERM, signal.SIGINT)
BOTS = (openai_bot, gemini_bot)
FASTER = 5
WORDS = "A table for two is booked."
# Of pcm16 at 24 kHz.
ANSWER_MS = 600
ANSWER_BYTES = ANSWER_MS * 48
# Two of the six pieces that an answer comes in.
HELD_AFTER = 2
HELD_BYTES = 100 * HELD_AFTER * 48
FOR_EVER_S = 1000.0

Server = LoopbackOpenAI | LoopbackGemini


class Heard(bytearray):
    """What the speaker has played; *then* is called as soon as so many bytes of an answer were."""

    def __init__(self, answer_bytes: int, then: Callable[[], None]) -> None:
        super().__init__()
        self._answer_bytes = answer_bytes
        self._then = then
        self._is_told = False

    @property
    def of_the_answer(self) -> int:
        """Bytes that are no silence; a sample of the answers has none that is zero."""
        samples = memoryview(self).cast("h")
        return 2 * sum(1 for sample in samples if sample)

    def extend(self, sound: bytes | bytearray) -> None:  # type: ignore[override]  # all that a speaker gives
        super().extend(sound)
        if not self._is_told and self.of_the_answer >= self._answer_bytes:
            self._is_told = True
            self._then()


class Stage:
    """A bot in a folder of its own, its provider, and somebody who has asked it something."""

    def __init__(self, bot: ModuleType, monkeypatch: pytest.MonkeyPatch, folder: Path) -> None:
        self.bot = bot
        self.folder = folder
        self.printed = ""
        self.at_line: dict[str, Callable[[], None]] = {}
        self._monkeypatch = monkeypatch
        monkeypatch.setattr(bot, "print", self._print, raising=False)
        monkeypatch.chdir(folder)

    def _print(self, line: object, **_options: object) -> None:
        self.printed += f"{line}\n"
        for beginning, then in self.at_line.items():
            if str(line).startswith(beginning):
                then()

    @contextmanager
    def provider(self, hold_after: int | None) -> Iterator[Server]:
        """A provider whose answers stop in their midst until they may go on."""
        if self.bot is openai_bot:
            answer = Answer(WORDS, audio_ms=ANSWER_MS, hold_after=hold_after)
            call = Answer(text=None, calls=[Call("book_table", '{"people": 2}')])
            with LoopbackOpenAI(OpenAIScript(answers=[call], otherwise=answer)) as server:
                self._monkeypatch.setenv("OPENAI_API_KEY", server.key)
                yield server
            return
        said = GeminiAnswer(WORDS, audio_ms=ANSWER_MS, hold_after=hold_after)
        with LoopbackGemini(GeminiScript(otherwise=said)) as gemini:
            self._monkeypatch.setenv("GEMINI_API_KEY", gemini.key)
            yield gemini

    def runs(self, server: Server, backend: str, played: bytearray) -> None:
        frame_bytes = 960 if self.bot is openai_bot else 640
        loud = [numbered_audio(number, frame_bytes=frame_bytes) for number in range(1, 9)]
        devices = running_devices(self._monkeypatch, b"".join(loud), FASTER, played)
        run = openai_bot.run if self.bot is openai_bot else gemini_bot.main
        run(["--microphone", "--base-url", server.url, "--backend", backend])
        assert all(stream.is_closed for stream in (*devices.inputs, *devices.outputs))

    def last_record(self) -> str:
        run_id = found(r"run (\S+)$", self.printed)
        return str(journal_of(self.folder / "calls.db", run_id)[-1]["event_kind"])


@pytest.fixture(params=BOTS, ids=["openai", "gemini"])
def stage(request: pytest.FixtureRequest, monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> Iterator[Stage]:
    def nobody_listens(*_: object) -> None:
        pytest.fail("the bot doesn't take the signal")

    # One that nobody takes fails its test, and doesn't end them all.
    before = {number: signal.signal(number, nobody_listens) for number in SIGNALS}
    yield Stage(request.param, monkeypatch, tmp_path)
    for number, handler in before.items():
        signal.signal(number, handler)


def sends(by: signal.Signals) -> Callable[[], None]:
    return lambda: os.kill(os.getpid(), by)


@pytest.mark.parametrize("by", SIGNALS, ids=["sigterm", "sigint"])
@pytest.mark.parametrize("backend", BACKENDS)
def test_who_is_asked_to_stop_lets_the_answer_be_heard_to_its_end(
    stage: Stage, backend: str, by: signal.Signals, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(stage.bot, "DRAIN_S", FOR_EVER_S)
    # The speaker has nothing left to play when it happens, so that isn't what the bot waits for.
    played = Heard(HELD_BYTES, sends(by))
    with stage.provider(hold_after=HELD_AFTER) as server:
        stage.at_line["asked to stop"] = server.go_on

        stage.runs(server, backend, played)

    assert played.of_the_answer == ANSWER_BYTES
    assert f"said:  {WORDS}" in stage.printed
    assert "0 failed, 0 dropped, 0 in doubt" in stage.printed
    assert stage.last_record() == "realtime_closed"


@pytest.mark.parametrize("by", SIGNALS, ids=["sigterm", "sigint"])
@pytest.mark.parametrize("backend", BACKENDS)
def test_who_is_asked_to_stop_waits_no_longer_than_the_deadline(
    stage: Stage, backend: str, by: signal.Signals, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(stage.bot, "DRAIN_S", 0.1)
    played = Heard(2, sends(by))
    with stage.provider(hold_after=HELD_AFTER) as server:
        stage.runs(server, backend, played)

    assert 0 < played.of_the_answer < ANSWER_BYTES
    assert "asked to stop" in stage.printed
    assert stage.last_record() == "realtime_closed"


@pytest.mark.parametrize("backend", BACKENDS)
def test_who_is_asked_to_stop_between_two_turns_stops(
    stage: Stage, backend: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(stage.bot, "DRAIN_S", FOR_EVER_S)
    played = Heard(ANSWER_BYTES, sends(signal.SIGTERM))
    with stage.provider(hold_after=None) as server:
        stage.runs(server, backend, played)

    assert stage.last_record() == "realtime_closed"


@pytest.mark.parametrize("stage", [openai_bot], indirect=True, ids=["openai"])
@pytest.mark.parametrize("backend", BACKENDS)
def test_what_comes_of_a_tool_is_said_before_the_bot_stops(
    stage: Stage, backend: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(stage.bot, "DRAIN_S", FOR_EVER_S)
    stage.at_line["booked a table"] = sends(signal.SIGTERM)
    played = Heard(0, lambda: None)
    with stage.provider(hold_after=None) as server:
        stage.runs(server, backend, played)

    assert played.of_the_answer == ANSWER_BYTES
    assert stage.last_record() == "realtime_closed"


BEFORE_THEY_TALK = {
    "agent_loop": (agent_loop.main, BACKENDS),
    "gemini_bot": (gemini_bot.main, BACKENDS),
    "offline_bot": (offline_bot.main, BACKENDS),
    "openai_bot": (openai_bot.run, BACKENDS),
    "trio_bot": (trio_bot.run, (None,)),
}


@pytest.fixture
def as_in_a_process_of_its_own() -> Iterator[None]:
    before = {number: signal.getsignal(number) for number in SIGNALS}
    signal.signal(signal.SIGINT, signal.default_int_handler)
    yield
    for number, handler in before.items():
        signal.signal(number, handler)


@pytest.mark.usefixtures("as_in_a_process_of_its_own")
@pytest.mark.parametrize("by", SIGNALS, ids=["sigterm", "sigint"])
@pytest.mark.parametrize(
    "run, backend",
    [
        pytest.param(run, backend, id=f"{name} {backend or 'trio'}")
        for name, (run, backends) in BEFORE_THEY_TALK.items()
        for backend in backends
    ],
)
def test_who_is_asked_to_stop_before_there_is_a_call_hangs_up(
    run: Callable[[Sequence[str]], None],
    backend: str | None,
    by: signal.Signals,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
    tmp_path: Path,
) -> None:
    is_left = False

    @asynccontextmanager
    async def never_opened(*_: object, **_options: object) -> AsyncIterator[None]:
        nonlocal is_left
        try:
            sends(by)()
            await anyio.sleep(60)
        finally:
            is_left = True
        yield

    monkeypatch.chdir(tmp_path)
    for key in ("OPENAI_API_KEY", "GEMINI_API_KEY"):
        monkeypatch.setenv(key, "sk-none")
    monkeypatch.setattr(sys.modules[run.__module__], "open_session", never_opened)

    run([] if backend is None else ["--backend", backend])

    assert is_left
    assert capsys.readouterr().out.splitlines()[-1] == "hung up"
