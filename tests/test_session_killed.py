"""A process that is killed while it works for the model, and the next one."""

from __future__ import annotations

import signal
import sys
from pathlib import Path

import anyio

from realtime_async import resume_session
from realtime_async.journals import SqliteJournal
from realtime_async.ports import RunId
from realtime_async.reports import report_of
from tests.controller.staged import plain_sidecar
from tests.test_session import Call
from tests.test_session_resumed import UNKNOWN
from tests.test_session_tools import BOOK, Tables, results


async def test_a_process_killed_by_its_tool_has_called_it_for_the_last_time(tmp_path: Path) -> None:
    path, tables, call = tmp_path / "calls.db", Tables(), Call()
    dead = await anyio.run_process([sys.executable, "-m", "tests.dying_in_a_tool", str(path)], check=False)
    assert (dead.returncode, dead.stdout.count(b"booked")) == (-signal.SIGKILL, 1)

    async with (
        SqliteJournal.open(path) as journal,
        resume_session(plain_sidecar(), call.adapter, journal, run_id="run-1") as session,
    ):
        await session.answer(BOOK, tables.book)
        await call.adapter.until_sent(2)

    assert tables.booked == []
    assert results(call) == [UNKNOWN]
    async with SqliteJournal.open(path) as journal:
        records = [record async for record in journal.read(RunId("run-1"))]
    (begun,) = (record for record in records if record.payload.kind == "tool_call_requested")
    (unknown,) = (
        record.payload
        for record in records
        if record.payload.effect_intent_ref == begun.record_id and record is not begun
    )
    # It says which call, and nothing of it.
    assert (unknown.kind, unknown.content_refs) == ("outcome_unknown", begun.payload.content_refs)
    (report,) = report_of(records).sessions
    assert (report.tool_calls, report.tool_calls_failed, report.tool_calls_unknown) == (1, 0, 1)
    asked = await anyio.run_process(
        [sys.executable, "-m", "realtime_async.cli", "report", "run-1", "--journal", f"sqlite:{path}"]
    )
    assert b"1, 0 failed, 1 with an unknown outcome" in asked.stdout
