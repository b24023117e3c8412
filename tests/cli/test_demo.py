"""The call that the command holds by itself."""

from __future__ import annotations

import sys
import wave
from collections.abc import AsyncGenerator
from pathlib import Path

import anyio
import pytest

from realtime_async import (
    OutputAudio,
    RealtimeOutputFrame,
    ResponseDone,
    ResponseStarted,
    SpeechStarted,
    open_session,
)
from realtime_async.adapters.scripted import Script, ScriptedAdapter
from realtime_async.audio import SilentSpeaker
from realtime_async.cli._demo import Call
from realtime_async.journals import MemoryJournal
from tests.cli.asked import ask, ask_json
from tests.cli.running import left_by_its_reader
from tests.controller.staged import plain_sidecar
from tests.postgres_server import PASSWORD, Database

__all__: list[str] = []

QUESTION = Path(__file__).parents[2] / "examples" / "question.wav"


def test_a_call_is_held_and_journaled(tmp_path: Path) -> None:
    url = f"sqlite:{tmp_path / 'calls.db'}"

    (told,) = ask_json(
        "demo", "--journal", url, "--restart-at", "1.5", "--output", str(tmp_path / "answer.wav")
    )

    assert told["heard"] == ["please book a table for two"]
    assert told["said"]
    assert told["restarts"] == 1
    (reported,) = ask_json("report", told["run_id"], "--journal", url)
    assert reported["sessions"][0]["delivery"]["sent"] == told["sent"]
    assert reported["sessions"][0]["restart_count"] == 1
    assert (tmp_path / "answer.wav").stat().st_size > 10_000


def test_a_spoken_question_is_heard_through_a_restart_and_told_as_it_comes(tmp_path: Path) -> None:
    url, answer = f"sqlite:{tmp_path / 'calls.db'}", tmp_path / "answer.wav"

    asked = ask(
        "demo", "--journal", url, "--input", str(QUESTION), "--restart-at", "1", "--output", str(answer)
    )

    assert asked.exit_code == 0
    lines = [line.split(maxsplit=1) for line in asked.stdout.splitlines()]
    assert [what for what, _ in lines[:2]] == ["heard", "said"]
    # The last thing that it says is goodbye.
    assert "goodbye" in " ".join(text for what, text in lines if what == "said").lower()
    assert dict(lines)["frames"].endswith("1 restarts")
    with wave.open(str(answer)) as sound:
        assert sound.getnframes() / sound.getframerate() > 1


def test_a_call_is_journaled_in_a_database(postgres_database: Database) -> None:
    (told,) = ask_json("demo", "--journal", postgres_database.dsn)

    assert told["heard"] == ["please book a table for two"]
    assert PASSWORD not in told["journal"]
    (reported,) = ask_json("report", told["run_id"], "--journal", postgres_database.dsn)
    assert reported["sessions"][0]["delivery"]["sent"] == told["sent"]


async def test_spoken_over_the_bot_falls_silent_and_is_told_what_was_heard() -> None:
    async def nothing() -> AsyncGenerator[bytes, None]:
        for piece in tuple[bytes, ...]():
            yield piece

    response_id = "answer.1"
    adapter = ScriptedAdapter(
        Script([
            RealtimeOutputFrame.of(ResponseStarted(), response_id=response_id),
            RealtimeOutputFrame.of(OutputAudio(), response_id=response_id, payload=bytes(48_000)),
            RealtimeOutputFrame.of(SpeechStarted()),
            RealtimeOutputFrame.of(ResponseDone("completed"), response_id=response_id),
        ])
    )  # fmt: skip
    # So slow that it would take an hour.
    speaker = SilentSpeaker(speed=1 / 3600)
    call = Call(nothing(), speaker, None, None, is_shown=False)

    with anyio.fail_after(10):
        async with open_session(plain_sidecar(), adapter, MemoryJournal(), run_id="demo") as session:
            await call.run(session)

    assert not speaker.is_playing
    assert adapter.calls.count("interrupt") == 1


@pytest.mark.parametrize(
    "arguments, said",
    [
        (
            ["--journal", f"postgresql://carol:{PASSWORD}@127.0.0.1:1/x?connect_timeout=2"],
            "cannot be reached",
        ),
        (["--journal", "sqlite:calls.db", "--input", "gone.wav"], "gone.wav"),
        (["--journal", "sqlite:calls.db", "a table for two " * 30], "at most 400 characters"),
    ],
    ids=["database", "file", "question"],
)
def test_what_cannot_be_had_is_told_in_one_line(
    arguments: list[str], said: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)

    asked = ask("demo", *arguments)

    assert asked.exit_code == 2
    (line,) = asked.stderr.splitlines()
    assert said in line
    assert PASSWORD not in line


def test_the_question_is_not_overwritten_by_its_answer(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    Path("question.wav").write_bytes(QUESTION.read_bytes())
    Path("link.wav").symlink_to("question.wav")

    asked = ask("demo", "--journal", "sqlite:calls.db", "--input", "question.wav", "--output", "link.wav")

    assert asked.exit_code == 2
    assert "that is the question" in asked.stderr
    assert Path("question.wav").read_bytes() == QUESTION.read_bytes()


@pytest.mark.parametrize("arguments", [[], ["--input", str(QUESTION)]], ids=["spoken", "file"])
@pytest.mark.parametrize("seconds", ["60", "inf"])
def test_a_restart_after_the_end_of_the_question_is_refused(
    arguments: list[str], seconds: str, tmp_path: Path
) -> None:
    """There would be none, and the call would look as if it had come through one."""
    journal = f"sqlite:{tmp_path / 'calls.db'}"

    asked = ask("demo", "--journal", journal, *arguments, "--restart-at", seconds)

    assert asked.exit_code == 2
    (line,) = asked.stderr.splitlines()
    assert line.startswith(f"realtime-async: --restart-at {float(seconds)}: the question takes ")
    assert not (tmp_path / "calls.db").exists()


def test_a_reader_of_the_call_who_has_had_enough_is_no_error(tmp_path: Path) -> None:
    assert left_by_its_reader("demo", "--journal", f"sqlite:{tmp_path / 'calls.db'}") == (0, b"")


@pytest.mark.parametrize("device", ["--microphone", "--speaker"])
def test_without_its_extra_a_device_says_what_to_install(
    device: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setitem(sys.modules, "sounddevice", None)

    asked = ask("demo", "--journal", f"sqlite:{tmp_path / 'calls.db'}", device)

    assert asked.exit_code == 2
    (line,) = asked.stderr.splitlines()
    assert line.startswith("realtime-async: ")
    assert "audio" in line
