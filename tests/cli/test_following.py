"""A run that is followed while it is written, and left."""

from __future__ import annotations

import re
import signal
import subprocess
import sys
from pathlib import Path

import anyio

from realtime_async.journals import SqliteJournal
from realtime_async.ports import JournalRecord, RealtimeSessionRecordKind
from realtime_async.testing.journal_contract import append_all, record, records
from tests.cli.asked import ROOT, RUN, ask
from tests.cli.running import followed

__all__: list[str] = []


# Whoever runs the tests in the background has it ignored, which their programs inherit.
HEEDS_CTRL_C = """
import runpy, signal
signal.signal(signal.SIGINT, signal.default_int_handler)
runpy.run_module("realtime_async.cli", run_name="__main__", alter_sys=True)
"""


def written(path: Path, run: list[JournalRecord]) -> str:
    async def write() -> None:
        async with SqliteJournal.open(path) as journal:
            await append_all(journal, run)

    anyio.run(write)
    return f"sqlite:{path}"


def test_a_run_that_has_ended_is_followed_to_its_end(url: str) -> None:
    asked = ask("tail", RUN, "--journal", url, "--last", "2")

    assert asked.exit_code == 0
    assert [re.findall(r"close\w+", line) for line in asked.stdout.splitlines()[1:]] == [
        ["close_requested"],
        ["closed"],
    ]


def test_a_live_run_is_followed_until_it_ends(tmp_path: Path) -> None:
    path = tmp_path / "calls.db"
    url = written(path, records("run.live", 5))
    rest = [record("run.live", 6), record("run.live", 7, kind=RealtimeSessionRecordKind.CLOSED)]

    assert followed("run.live", url, shows=5, then=lambda: written(path, rest)) == [1, 2, 3, 4, 5, 6, 7]


def test_what_comes_is_shown_where_nothing_from_before_is_asked_for(tmp_path: Path) -> None:
    url = written(tmp_path / "calls.db", records("run.live", 5))
    program = subprocess.Popen(
        [sys.executable, "-m", "realtime_async.cli", "tail", "run.live", "--journal", url, "--last", "0"],
        stdout=subprocess.PIPE,
        text=True,
        cwd=ROOT,
    )
    assert program.stdout is not None
    with program:
        heading = program.stdout.readline()
        written(tmp_path / "calls.db", [record("run.live", 6, kind=RealtimeSessionRecordKind.CLOSED)])
        shown = program.stdout.readlines()

    assert "kind" in heading
    assert len(shown) == 1
    assert "closed" in shown[0]


def test_ctrl_c_leaves_a_run_that_is_followed(tmp_path: Path) -> None:
    url = written(tmp_path / "calls.db", records("run.live", 2))
    program = subprocess.Popen(
        [sys.executable, "-c", HEEDS_CTRL_C, "tail", "run.live", "--journal", url],
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
        cwd=ROOT,
    )
    assert program.stdout is not None
    for _ in range(3):
        program.stdout.readline()
    program.send_signal(signal.SIGINT)
    _, said = program.communicate(timeout=30)

    assert (program.returncode, said) == (0, "")
