"""The smallest bot, run as it stands."""

from __future__ import annotations

import functools
import signal
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

from examples import trio_bot
from tests.adapters.local.speech import spoken
from tests.audio.fake_sounddevice import FakeSoundDevice, running_devices
from tests.examples.watching import terminated_when, watched_calls


@pytest.fixture(autouse=True)
def folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)


def test_it_greets_and_books_a_table(capsys: pytest.CaptureFixture[str]) -> None:
    trio_bot.run([])

    lines = capsys.readouterr().out.splitlines()
    assert [line for line in lines if line.startswith(("heard:", "said:"))] == [
        "said:  Hello! What can I do for you?",
        "heard: please book a table for two",
        "said:  A table for 2 is booked.",
    ]
    assert "0 failed, 0 dropped, 0 in doubt" in lines[-1]


@pytest.mark.parametrize("by", [signal.SIGTERM, signal.SIGINT])
def test_a_signal_hangs_up_and_closes_the_session(by: signal.Signals, tmp_path: Path) -> None:
    code, printed = terminated_when("said:  Hello", trio_bot, tmp_path, by=by)

    assert code == 0
    assert "asked to stop" in printed
    assert "0 queued" in printed.splitlines()[-1]


@pytest.fixture
def handlers() -> Iterator[None]:
    before = {number: signal.getsignal(number) for number in (signal.SIGTERM, signal.SIGINT)}
    yield
    for number, handler in before.items():
        signal.signal(number, handler)


@pytest.mark.usefixtures("handlers")
@pytest.mark.parametrize(
    "drain_s, lines", [(1000.0, 3), (0.0, 2)], ids=["within the deadline", "at the deadline"]
)
def test_who_is_asked_to_stop_answers_what_was_asked_within_a_deadline(
    capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch, drain_s: float, lines: int
) -> None:
    """The tool is at work then, and what came of it has not been said."""
    print_line = functools.partial(print, flush=True)

    def watched(line: object, **_options: object) -> None:
        print_line(line)
        if str(line).startswith("heard:"):
            signal.raise_signal(signal.SIGTERM)

    monkeypatch.setattr(trio_bot, "DRAIN_S", drain_s)
    monkeypatch.setattr(trio_bot, "print", watched, raising=False)

    trio_bot.run([])

    printed = capsys.readouterr().out.splitlines()
    assert sum(line.startswith(("heard:", "said:")) for line in printed) == lines
    assert "asked to stop: this turn is the last" in printed
    assert "0 queued" in printed[-1]


def test_it_is_quiet_when_it_is_spoken_over(
    capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    played = bytearray()
    question = spoken("please book a table for four people")
    devices = running_devices(monkeypatch, b"", 5, played, interjection=question)
    calls = watched_calls(monkeypatch, trio_bot)

    trio_bot.run(["--microphone"])

    assert "said:  A table for 4 is booked." in capsys.readouterr().out
    assert "interrupt" in {call.get("operation") for call in calls}
    assert len(played) > 22050
    assert devices.inputs[0].is_closed
    assert devices.outputs[0].is_closed


def test_a_machine_without_a_microphone_is_told_so(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "sounddevice", FakeSoundDevice(has_device=False))

    with pytest.raises(SystemExit, match=r"^trio_bot: the speaker \(default device\) cannot be opened"):
        trio_bot.run(["--microphone"])
