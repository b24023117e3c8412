"""The smallest bot, run as it stands."""

from __future__ import annotations

import signal
import sys
from pathlib import Path

import pytest

from examples import trio_bot
from tests.adapters.local.speech import spoken
from tests.audio.fake_sounddevice import FakeSoundDevice, running
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


def test_it_is_quiet_when_it_is_spoken_over(
    capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    played = bytearray()
    question = spoken("please book a table for four people")
    devices = FakeSoundDevice(makes=running(b"", 5, played, interjection=question))
    monkeypatch.setitem(sys.modules, "sounddevice", devices)
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
