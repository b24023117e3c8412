"""Two processes and one run: one of them goes on, and the other reaches no provider."""

from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest

from realtime_async.testing.clock import BACKENDS
from tests.postgres_server import Database

ROOT = Path(__file__).parents[2]
ROUNDS = 100

pytestmark = pytest.mark.parametrize("backend", BACKENDS)


def contest(what: str, place: str, backend: str) -> list[list[dict[str, Any]]]:
    """What two processes told of each round."""
    program = [sys.executable, "-m", "tests.controller.owning", place, what, str(ROUNDS), backend]
    ran = subprocess.run(program, cwd=ROOT, capture_output=True, text=True, check=False, timeout=100)
    assert ran.returncode == 0, ran.stderr
    told = [json.loads(line) for line in ran.stdout.splitlines()]
    return [[each for each in told if each["round"] == number] for number in range(ROUNDS)]


def judge_the_race(place: str, backend: str) -> None:
    for told in contest("race", place, backend):
        loser, winner = sorted(told, key=lambda each: each["error"] is None)

        assert winner["error"] is None
        assert winner["calls"] == ["connect"]
        assert loser["error"] == "JournalConflict"
        assert loser["calls"] == []


def judge_the_pause(place: str, backend: str) -> None:
    for told in contest("pause", place, backend):
        heir, owner = sorted(told, key=lambda each: str(each["name"]))

        assert owner["error"] == "JournalConflict"
        assert owner["calls"] == ["connect", "send"]
        assert heir["calls"] == ["connect", "send", "send"]


def test_of_two_processes_that_resume_a_run_at_once_one_goes_on(tmp_path: Path, backend: str) -> None:
    judge_the_race(str(tmp_path / "calls.db"), backend)


def test_of_two_that_resume_a_run_of_a_database_at_once_one_goes_on(
    postgres_database: Database, backend: str
) -> None:
    judge_the_race(postgres_database.dsn, backend)


def test_an_owner_that_was_stopped_and_superseded_reaches_its_provider_no_more(
    tmp_path: Path, backend: str
) -> None:
    judge_the_pause(str(tmp_path / "calls.db"), backend)


def test_an_owner_superseded_in_a_database_reaches_its_provider_no_more(
    postgres_database: Database, backend: str
) -> None:
    judge_the_pause(postgres_database.dsn, backend)
