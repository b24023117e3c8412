"""The offline bot with a microphone and a speaker, a terminal, and somebody who wants it to stop."""

from __future__ import annotations

import signal
import sys
import wave
from collections.abc import Callable
from pathlib import Path

import anyio
import pytest
from rich.console import Console

from examples import offline_bot
from realtime_async.audio import SilentSpeaker
from tests.adapters.local.speech import silence, spoken
from tests.audio.fake_sounddevice import FakeSoundDevice, running_devices
from tests.examples.calling import Bot, Outcome
from tests.examples.watching import BACKENDS, found, terminated_when

FASTER = 3

Plug = Callable[..., tuple[FakeSoundDevice, bytearray]]


@pytest.fixture
def plug(monkeypatch: pytest.MonkeyPatch) -> Plug:
    """Put devices into the machine, see `running_devices`."""

    def plugged(sound: bytes, interjection: bytes = b"") -> tuple[FakeSoundDevice, bytearray]:
        played = bytearray()
        return running_devices(monkeypatch, sound, FASTER, played, interjection), played

    return plugged


@pytest.mark.parametrize("backend", BACKENDS)
def test_it_hears_the_microphone_and_is_heard_by_the_speaker(backend: str, bot: Bot, plug: Plug) -> None:
    sound = silence(0.3) + spoken("thank you") + silence(3) + spoken("goodbye")
    devices, played = plug(sound)

    outcome = bot.runs("--microphone", "--speaker", "--backend", backend)

    assert outcome.heard == ["thank you", "goodbye"]
    assert outcome.said == ["You are welcome.", "Goodbye!", "It was nice talking to you."]
    assert outcome.summary("lost") == "nothing"
    # All of the answer that is in the file was played, among silence.
    with wave.open(str(bot.folder / "answer.wav"), "rb") as answer:
        first_tenth = answer.readframes(2205)
    assert bytes(played).find(first_tenth) > 0
    assert len(played) / 2 / 22_050 > outcome.answer_s > 2
    assert all(stream.is_closed for stream in (*devices.inputs, *devices.outputs))


def test_it_says_so_when_it_is_spoken_over_and_stops(bot: Bot, plug: Plug) -> None:
    plug(silence(0.3) + spoken("what can you do"), spoken("goodbye"))

    outcome = bot.runs("--microphone", "--speaker")

    assert outcome.heard == ["what can you do", "goodbye"]
    heard_s = float(found(r"spoken over: silent after ([\d.]+) s", outcome.printed))
    # The whole answer takes four seconds and more.
    assert 0 < heard_s < 3
    kinds = [record["event_kind"] for record in outcome.journal()]
    assert "realtime_interrupted" in kinds


def test_a_connection_that_is_replaced_while_the_microphone_hears_a_sentence_loses_nothing_of_it(
    bot: Bot, plug: Plug
) -> None:
    plug(silence(0.3) + spoken("tell me a joke") + silence(5) + spoken("goodbye"))

    outcome = bot.runs("--microphone", "--restart-at", "0.8")

    assert outcome.heard == ["tell me a joke", "goodbye"]
    assert outcome.summary("restarts") == "1"
    assert outcome.summary("lost") == "nothing"


@pytest.mark.parametrize("argument", ["--microphone", "--speaker"])
def test_a_machine_without_the_device_is_told_so(
    argument: str, bot: Bot, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setitem(sys.modules, "sounddevice", FakeSoundDevice(has_device=False))

    with pytest.raises(
        SystemExit, match=rf"^offline_bot: the {argument[2:]} \(default device\) cannot be opened"
    ):
        bot.runs(argument)


@pytest.mark.parametrize("argument", ["--microphone", "--speaker"])
def test_a_missing_extra_is_told_with_what_to_install(
    argument: str, bot: Bot, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setitem(sys.modules, "sounddevice", None)

    with pytest.raises(SystemExit, match=r"^offline_bot: .*pip install 'realtime-async\[audio\]'"):
        bot.runs(argument)


def test_on_a_terminal_it_shows_what_it_does_now(bot: Bot, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("FORCE_COLOR", "1")
    monkeypatch.setenv("TERM", "xterm")

    outcome = bot.runs()

    assert "hearing you" in outcome.printed
    assert "heard: " in outcome.printed


def test_without_a_terminal_it_prints_plain_lines(bot: Bot) -> None:
    outcome = bot.runs()

    assert "hearing you" not in outcome.printed
    assert outcome.printed.isascii()
    assert "\x1b" not in outcome.printed


def test_sigterm_lets_the_sentence_under_way_be_answered(tmp_path: Path) -> None:
    with wave.open(str(tmp_path / "long.wav"), "wb") as file:
        file.setparams((1, 2, 16_000, 0, "NONE", ""))
        file.writeframes(spoken("tell me a joke") + silence(60) + spoken("what can you do"))

    code, printed = terminated_when("somebody speaks", offline_bot, tmp_path, ["--input", "long.wav"])

    outcome = Outcome(printed, tmp_path)
    assert code == 0
    assert "asked to stop" in printed
    assert outcome.heard == ["tell me a joke"]
    assert outcome.said[-1] == "It wanted to be heard."
    assert outcome.summary("lost") == "nothing"
    assert outcome.journal()[-1]["event_kind"] == "realtime_closed"


@pytest.mark.virtual_time
async def test_who_is_asked_to_stop_and_does_not_come_to_a_turns_end_stops_at_the_deadline(
    tmp_path: Path,
) -> None:
    speaker = SilentSpeaker()
    with offline_bot.opened_answer(tmp_path / "answer.wav", 24_000) as answer:
        call = offline_bot.Call(
            sound=NotImplemented,
            speaker=speaker,
            recording=offline_bot.Recording(answer, speaker),
            restart_at_s=None,
            screen=offline_bot.Screen(Console(quiet=True), None),
        )
        call.turn.begin()
        begun = anyio.current_time()
        async with anyio.create_task_group() as tasks:
            tasks.start_soon(call.drain_on_signal, tasks.cancel_scope)
            await anyio.wait_all_tasks_blocked()
            signal.raise_signal(signal.SIGTERM)
            await anyio.sleep_forever()

    assert anyio.current_time() - begun == pytest.approx(offline_bot.DRAIN_S, abs=1)
