"""Wherever a process dies, another one takes its session up, and every invariant holds."""

from __future__ import annotations

import json
import subprocess
import sys
from collections import Counter
from pathlib import Path

import attrs
import pytest

from realtime_async import RealtimeSessionSidecar
from realtime_async.errors import SessionStateError
from realtime_async.journals import MemoryJournal
from realtime_async.testing.clock import BACKENDS, run_virtual
from realtime_async.testing.journals import ProcessDied
from tests.controller.dying import RUN, SIDECARS, Death, Life, call_up, leave, live
from tests.controller.staged import FRAME, SECRET
from tests.oracle.evidence import steps_of
from tests.oracle.fates import totals_of
from tests.oracle.invariants import check
from tests.postgres_server import Database

ROOT = Path(__file__).parents[2]


@pytest.mark.parametrize("name", SIDECARS)
def test_whenever_a_process_dies_another_goes_on(name: str) -> None:
    counted = Life()
    run_virtual(live, MemoryJournal(), SIDECARS[name], Death(0, leave), counted.hear, backend=BACKENDS[0])

    for moment in range(1, counted.moments + 1):
        backend = BACKENDS[(moment // 2) % len(BACKENDS)]
        judge(run_virtual(die_and_resume, SIDECARS[name], moment, backend=backend), moment)

    assert counted.moments > 100


async def die_and_resume(sidecar: RealtimeSessionSidecar, moment: int) -> Life:
    journal, life = MemoryJournal(), Life()
    try:
        await live(journal, sidecar, Death(moment, leave), life.hear)
    except* ProcessDied:
        pass
    life.hear("buried", len([record async for record in journal.read(RUN)]))
    try:
        await call_up(journal, sidecar, life.hear)
    except SessionStateError as refused:
        life.hear("refused", str(refused))
    records = [attrs.asdict(record) async for record in journal.read(RUN)]
    life.hear("records", json.loads(json.dumps(records)))
    return life


@pytest.mark.timeout(300)
def test_whenever_a_process_is_killed_another_goes_on_from_its_file(tmp_path: Path) -> None:
    judge_the_killed(tmp_path)


@pytest.mark.timeout(300)
def test_whenever_a_process_is_killed_another_goes_on_from_their_database(
    tmp_path: Path, postgres_database: Database
) -> None:
    judge_the_killed(tmp_path, postgres_database.admin_dsn)


def judge_the_killed(directory: Path, *database: str) -> None:
    program = [sys.executable, "-m", "tests.controller.killing", str(directory), "spans", *database]
    ran = subprocess.run(program, cwd=ROOT, capture_output=True, text=True, check=False)

    assert ran.returncode == 0, ran.stderr
    lines = [json.loads(line) for line in ran.stdout.splitlines()]
    for moment, told in lines:
        life = Life()
        for what, fact in told:
            life.hear(what, fact)
        judge(life, moment)
    assert len(lines) > 100


def judge(life: Life, moment: int) -> None:
    """Whether what is known of the dead and of the heir, and what the journal says, agree."""
    where = f"died at moment {moment}"
    kinds = [record["payload"]["kind"] for record in life.records]
    if life.refused is not None:
        # It was never begun, or over.
        assert not kinds or kinds[-1] == "closed", where
        return
    assert kinds[-1] == "closed", where
    violations = check(life.records, life.log, accepted=life.given, secrets=[SECRET, FRAME.hex()])
    assert not violations, (where, violations)

    recovered = kinds.index("session_recovered") + 1
    for delivery, upto in ((life.resumed, recovered), (life.ended, len(kinds))):
        totals = attrs.asdict(totals_of(steps_of(life.records[:upto])))
        assert {name: delivery[name] for name in totals} == totals, where

    assert_counted(life, where)
    assert_sent_once(life, where)


def assert_counted(life: Life, where: str) -> None:
    """What was accepted is counted, and nothing else but numbers that the spans had reserved."""
    given = sum(frame_id.startswith("before") for frame_id in life.given)
    returned = sum(frame_id.startswith("before") for frame_id in life.returned)
    unknown = [record["payload"] for record in life.records if record["payload"]["kind"] == "outcome_unknown"]
    reserved = sum((payload["extent"] or {}).get("frames", 0) for payload in unknown)
    accepted = sum(life.resumed[name] for name in ("sent", "failed", "dropped", "in_doubt", "queued"))
    assert returned <= accepted <= given + reserved, where
    assert reserved <= 2 * 4 * 2, where


def assert_sent_once(life: Life, where: str) -> None:
    """Nothing reaches a provider twice but what a replay says."""
    sends = [entry for entry in life.log if entry["edge"] == "started" and entry["operation"] == "send"]
    times = Counter(entry["frame_id"] for entry in sends)
    replays = [
        record["payload"]["extent"]
        for record in life.records
        if record["payload"]["kind"] == "input_replay_requested"
    ]
    for entry in sends:
        again = any(
            extent["first"]["chunk_sequence"] <= entry["cursor"] <= extent["last"]["chunk_sequence"]
            for extent in replays
        )
        assert times[entry["frame_id"]] == 1 or again, (where, entry)
