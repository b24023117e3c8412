"""The bot that talks to OpenAI, run as it stands against a provider on loopback."""

from __future__ import annotations

import wave
from collections.abc import Iterator
from pathlib import Path

import anyio
import pytest

from examples import openai_bot
from realtime_async import (
    RealtimeOutputFrame,
    ResponseDone,
    ResponseStarted,
    StreamCursor,
    ToolCall,
    open_session,
)
from realtime_async.adapters.scripted import AfterSent, Drop, FrameFate, Script, ScriptedAdapter
from realtime_async.audio import SilentSpeaker
from realtime_async.journals import MemoryJournal
from realtime_async.ports import InputSignal
from realtime_async.testing.loopback import DropHow
from realtime_async.testing.loopback.openai import Answer, Call, LoopbackOpenAI, OpenAIScript
from tests.controller.staged import plain_sidecar
from tests.examples.watching import BACKENDS, printed_as_ascii, wav
from tests.testing.loopback.openai_types import misfits

SCRIPT = OpenAIScript(
    answers=[Answer(text=None, calls=[Call("book_table", '{"people": 2}')])],
    otherwise=Answer(text="A table for two is booked.", audio_ms=600),
    transcript_otherwise="Please book a table for two.",
)


@pytest.fixture
def server(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> Iterator[LoopbackOpenAI]:
    with LoopbackOpenAI(SCRIPT) as server:
        monkeypatch.setenv("OPENAI_API_KEY", server.key)
        monkeypatch.chdir(tmp_path)
        yield server
    for connection in server.log:
        assert misfits(connection.received[:20] + connection.received[-20:], "client") == []


def arguments(server: LoopbackOpenAI, *others: str) -> list[str]:
    return ["--base-url", server.url, "--speed", "20", *others]


@pytest.mark.parametrize("backend", BACKENDS)
def test_it_hears_a_question_uses_its_tool_and_speaks_its_answer_into_a_file(
    server: LoopbackOpenAI, backend: str, capsys: pytest.CaptureFixture[str]
) -> None:
    openai_bot.run(arguments(server, "--backend", backend))

    lines = capsys.readouterr().out.splitlines()
    assert [line for line in lines if line.startswith(("heard:", "booked", "said:"))] == [
        "heard: Please book a table for two.",
        "booked a table for 2",
        "said:  A table for two is booked.",
    ]
    assert "0 failed, 0 dropped, 0 in doubt" in lines[-1]
    with wave.open("answer.wav") as answer:
        assert answer.getparams()[:4] == (1, 2, 24_000, 14_400)
    assert server.log[0].errors == []


def test_a_connection_that_dies_costs_neither_question_nor_answer(
    server: LoopbackOpenAI, capsys: pytest.CaptureFixture[str]
) -> None:
    server.drop(DropHow.RESET, after_received=60)

    openai_bot.run(arguments(server))

    printed = capsys.readouterr().out
    assert "said:  A table for two is booked." in printed
    assert "connection_lost: " in printed


@pytest.mark.parametrize("nth", [1, 2], ids=["result", "request"])
async def test_a_connection_that_dies_under_what_a_tool_returned_costs_no_answer(nth: int) -> None:
    of = RealtimeOutputFrame.of
    script = Script(
        [
            of(ToolCall("call.1", "book_table", '{"people": 2}'), response_id="answer.1"),
            of(ResponseDone("completed"), response_id="answer.1"),
            AfterSent(2),
            of(ResponseStarted(), response_id="answer.2"),
            of(ResponseDone("completed"), response_id="answer.2"),
        ],
        faults={("send", nth): Drop(FrameFate.VANISHED)},
        kept_through=[StreamCursor.chunk(0)],
    )
    adapter, journal = ScriptedAdapter(script), MemoryJournal()

    with anyio.fail_after(10):
        async with open_session(plain_sidecar(), adapter, journal, run_id="call-1") as session:
            await openai_bot.talk(session, SilentSpeaker(), openai_bot.Patience(), hangs_up=True)

    assert adapter.sent[-2].payload == "A table for 2 is booked."
    assert adapter.sent[-1].signal is InputSignal.REQUEST_RESPONSE


def test_without_a_key_it_says_where_to_put_one(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("OPENAI_API_KEY", raising=False)

    with pytest.raises(SystemExit, match="OPENAI_API_KEY"):
        openai_bot.run([])


def test_a_wrong_key_is_told_and_not_shown(server: LoopbackOpenAI, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("OPENAI_API_KEY", "sk-wrong-91")
    Path("answer.wav").write_bytes(b"an earlier answer")

    with pytest.raises(SystemExit, match="HTTP 401") as ended:
        openai_bot.run(arguments(server))

    assert "sk-wrong-91" not in str(ended.value)
    assert Path("answer.wav").read_bytes() == b"an earlier answer"


@pytest.mark.parametrize(
    "sound, told",
    [
        (b"no sound", "RIFF"),
        (b"", "cut off"),
        (wav(bytes(960))[:30], "cut off"),
        (wav(b""), "no sound in it"),
        (wav(bytes(960), rate=0), "at 0 Hz"),
        (wav(bytes(960), sample_bytes=1), "of 8 bits"),
    ],
    ids=["no WAV", "empty", "half a header", "header only", "no rate", "8 bits"],
)
def test_a_file_that_is_no_sound_is_told_so(
    server: LoopbackOpenAI, tmp_path: Path, sound: bytes, told: str
) -> None:
    (tmp_path / "no.wav").write_bytes(sound)
    (tmp_path / "answer.wav").write_bytes(b"an earlier answer")

    with pytest.raises(SystemExit, match=rf"^openai_bot: \S*no.wav .*{told}"):
        openai_bot.run(arguments(server, "--input", str(tmp_path / "no.wav")))

    assert (tmp_path / "answer.wav").read_bytes() == b"an earlier answer"


@pytest.mark.parametrize("backend", BACKENDS)
def test_a_file_in_which_nobody_speaks_is_given_up(
    server: LoopbackOpenAI,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
    backend: str,
) -> None:
    monkeypatch.setattr(openai_bot, "ANSWER_S", 0.3)
    Path("silent.wav").write_bytes(wav(bytes(48_000)))

    with pytest.raises(
        SystemExit, match=r"^openai_bot: nothing was answered for 0.3 s: is there .* in silent.wav"
    ):
        openai_bot.run(arguments(server, "--input", "silent.wav", "--backend", backend))

    assert "0 failed, 0 dropped, 0 in doubt" in capsys.readouterr().out


def test_words_that_the_output_has_no_letters_for_end_no_call(monkeypatch: pytest.MonkeyPatch) -> None:
    assert printed_as_ascii(monkeypatch, openai_bot.run) == b"said:  Caf\\xe9\n"


def test_a_file_that_was_cut_off_within_a_sample_is_heard_up_to_there(tmp_path: Path) -> None:
    (tmp_path / "cut.wav").write_bytes(wav(bytes(960))[:-1])

    assert list(openai_bot.frames_of(tmp_path / "cut.wav")) == [bytes(960)]


@pytest.mark.parametrize("call", ["no json", "[]", '{"people": Infinity}', "[" * 50_000])
def test_a_tool_call_that_cannot_be_read_is_answered_with_a_question(call: str) -> None:
    assert "how many" in openai_bot.booked(ToolCall("call_1", "book_table", call))
