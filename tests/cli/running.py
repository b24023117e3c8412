"""The command as a program of its own, whose lines are read as they come, or by nobody."""

from __future__ import annotations

import os
import subprocess
import sys
from collections.abc import Callable

import orjson

from tests.cli.asked import ROOT

__all__ = ["PROGRAM", "followed", "left_by_its_reader"]

PROGRAM = [sys.executable, "-m", "realtime_async.cli"]


def followed(run_id: str, url: str, *, shows: int, then: Callable[[], object]) -> list[int]:
    """Follow a live run to its end, doing *then* when so many records were shown; returns the numbers of all."""
    shown: list[str] = []
    program = subprocess.Popen(
        [*PROGRAM, "tail", run_id, "--journal", url, "--json"], stdout=subprocess.PIPE, text=True, cwd=ROOT
    )
    assert program.stdout is not None
    with program:
        for line in program.stdout:
            shown.append(line)
            if len(shown) == shows:
                then()
    assert program.returncode == 0
    return [orjson.loads(line)["journal_seq"] for line in shown]


def left_by_its_reader(*arguments: str) -> tuple[int, bytes]:
    """Ask for something and read nothing of it; returns the exit code, and what was said of that."""
    # What it prints gathers until it ends, as in a pipe it does.
    environment = {name: value for name, value in os.environ.items() if name != "PYTHONUNBUFFERED"}
    program = subprocess.Popen(
        [*PROGRAM, *arguments], stdout=subprocess.PIPE, stderr=subprocess.PIPE, cwd=ROOT, env=environment
    )
    assert program.stdout is not None
    program.stdout.close()
    assert program.stderr is not None
    said = program.stderr.read()
    program.stderr.close()
    return program.wait(30), said
