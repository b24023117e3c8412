"""A run as a table and as a picture."""

from __future__ import annotations

import re
import subprocess
import sys
from pathlib import Path

import anyio
import pytest

from examples import agent_loop, offline_bot, show_journal
from realtime_async import (
    ProviderConnectionLost,
    RealtimeInputFrame,
    RealtimeRestartReason,
    RealtimeSessionSidecar,
    open_session,
)
from realtime_async.adapters.scripted import Drop, FrameFate, Script, ScriptedAdapter
from realtime_async.journals import SqliteJournal

DRAWN = Path(__file__).parents[2] / "docs" / "run.svg"


def words_in(picture: str) -> set[str]:
    """The words of a picture, less its numbers and the name of its run."""
    texts = re.findall(r"<text[^>]*>([^<]*)</text>", picture)
    return {text for text in texts if re.search(r"[a-z]", text) and not text.startswith("run ")}


@pytest.fixture(autouse=True)
def folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)


def shown(capsys: pytest.CaptureFixture[str], *arguments: str) -> str:
    capsys.readouterr()
    show_journal.main(arguments)
    return capsys.readouterr().out


def test_the_picture_in_the_documentation_is_what_its_command_draws(
    capsys: pytest.CaptureFixture[str],
) -> None:
    offline_bot.main(["--restart-at", "1"])

    shown(capsys, "calls.db", "--picture", "run.svg")

    drawn = Path("run.svg").read_text()
    assert words_in(drawn) == words_in(DRAWN.read_text())
    assert words_in(drawn) >= {"person speaks", "answers", "restart", "input said again", "the gate"}
    assert max(len(drawn), DRAWN.stat().st_size) < 150_000
    assert "table" not in drawn


def test_an_interruption_is_in_table_and_picture(capsys: pytest.CaptureFixture[str]) -> None:
    agent_loop.main([])

    table = shown(capsys, "calls.db", "--picture", "run.svg")

    assert "interrupt_requested" in table
    assert "interruption" in words_in(Path("run.svg").read_text())
    assert "menu" not in table


def test_a_picture_can_be_a_png(capsys: pytest.CaptureFixture[str]) -> None:
    anyio.run(unlucky_run, "call-1")

    shown(capsys, "calls.db", "--picture", "run.png")

    assert Path("run.png").read_bytes().startswith(b"\x89PNG")


async def unlucky_run(run_id: str) -> None:
    adapter = ScriptedAdapter(Script(faults={("send", 1): Drop(FrameFate.VANISHED)}))
    sidecar = RealtimeSessionSidecar.voice_defaults("front-desk")
    async with (
        SqliteJournal.open("calls.db") as journal,
        open_session(sidecar, adapter, journal, run_id=run_id) as session,
    ):
        with pytest.raises(ProviderConnectionLost):
            await session.send(RealtimeInputFrame.text("a secret"))
        await session.restart(RealtimeRestartReason.CONNECTION_LOST)


def test_a_row_tells_how_a_record_ended_and_nothing_that_was_said(capsys: pytest.CaptureFixture[str]) -> None:
    anyio.run(unlucky_run, "call-1")

    table = shown(capsys, "calls.db")

    assert re.search(r"input_send_failed +text provider_connection_lost, unknown_outcome", table)
    assert re.search(r"restart_completed +connection_lost", table)
    assert re.search(r"closed +normal\s*$", table)
    assert "secret" not in table


def test_the_last_run_is_shown_unless_another_one_is_named(capsys: pytest.CaptureFixture[str]) -> None:
    for run_id in ("call-1", "call-2"):
        anyio.run(unlucky_run, run_id)

    assert "run call-2" in shown(capsys, "calls.db")
    assert "run call-1" in shown(capsys, "calls.db", "--run", "call-1")


@pytest.mark.parametrize(
    "arguments, advice",
    [
        (["nowhere.db"], "there is no file 'nowhere.db'"),
        (["calls.db", "--run", "call-7"], "holds no run 'call-7'"),
        (["calls.db", "--picture", "nowhere/run.svg"], "No such file"),
        (["text.db"], "not a database"),
    ],
    ids=["no file", "no run", "no folder", "no journal"],
)
def test_what_cannot_be_shown_is_told_in_a_sentence(arguments: list[str], advice: str) -> None:
    anyio.run(unlucky_run, "call-1")
    Path("text.db").write_text("This is no journal, and long enough to be taken for something else.")

    with pytest.raises(SystemExit, match=advice):
        show_journal.main(arguments)


def test_a_picture_of_another_format_is_refused(capsys: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(SystemExit):
        show_journal.main(["calls.db", "--picture", "run.gif"])

    assert "ends in .svg or .png" in capsys.readouterr().err


def test_without_matplotlib_it_says_what_to_install(monkeypatch: pytest.MonkeyPatch) -> None:
    anyio.run(unlucky_run, "call-1")
    monkeypatch.setitem(sys.modules, "matplotlib", None)

    with pytest.raises(SystemExit, match=r"pip install -e '\.\[examples\]'"):
        show_journal.main(["calls.db", "--picture", "run.svg"])


def test_it_runs_as_a_program() -> None:
    anyio.run(unlucky_run, "call-1")

    run = subprocess.run(
        [sys.executable, show_journal.__file__, "calls.db"], capture_output=True, text=True, check=False
    )

    assert (run.returncode, run.stderr) == (0, "")
    assert "restart_completed" in run.stdout
