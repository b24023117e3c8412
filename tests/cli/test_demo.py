"""The call that the command holds by itself."""

from __future__ import annotations

from pathlib import Path

from tests.cli.asked import ask_json

__all__: list[str] = []


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
