"""What each command does with a journal."""

from __future__ import annotations

import sys
from collections import deque
from collections.abc import AsyncIterator, Iterator, Sequence
from contextlib import contextmanager, nullcontext, suppress
from enum import StrEnum
from typing import TypedDict

import anyio

from realtime_async._core.given import text
from realtime_async.cli._asking import Exit, journal_at, masked, records_of, run_named
from realtime_async.cli._output import flush, perhaps_unread
from realtime_async.cli._printing import (
    RUN_HEADINGS,
    STEP_HEADINGS,
    as_json,
    counted,
    counting,
    json_line,
    line,
    run_line,
    step_line,
    stepping,
)
from realtime_async.cli._telling import told
from realtime_async.errors import ContractViolation, JournalCorrupt, JournalFailure
from realtime_async.journals import StoredRuns
from realtime_async.journals._codec import encode, unstructure
from realtime_async.ports import AudioFormat, JournalRecord, RealtimeSessionRecordKind, RunId
from realtime_async.reports import ReportFold, RunCheck, Step

__all__ = ["Format", "export", "migrate", "report", "runs", "show", "tail", "verify"]

POLL_S = 0.25
# No run has so many records, and no store or queue can count further.
MOST_RECORDS = 2**53
_TERMINAL = {RealtimeSessionRecordKind.CLOSED, RealtimeSessionRecordKind.CLOSE_FAILED}


class _Finding(TypedDict):
    run_id: str | None
    """None: the store doesn't know."""
    finding: str


class Format(StrEnum):
    JSONL = "jsonl"


async def runs(url: str | None, after: str, tag: str | None, *, json: bool) -> Exit:
    text(after, "run to begin after")
    async with journal_at(url) as journal:
        if not json:
            line(RUN_HEADINGS, "bold")
        async for run in journal.runs(after=after, tag=tag):
            if json:
                as_json(run)
            else:
                line(run_line(run))
    return Exit.FINE


async def show(url: str | None, name: str, after: int, *, json: bool) -> Exit:
    async with journal_at(url) as journal:
        run_id = await run_named(journal, name)
        if not json:
            line(STEP_HEADINGS, "bold")
        async for step in stepping(records_of(journal, run_id, after=min(after, MOST_RECORDS))):
            _show(step, json=json)
    return Exit.FINE


def _show(step: Step, *, json: bool) -> None:
    if json:
        as_json(unstructure(step.record))
        return
    style = "red" if step.is_trouble else "yellow" if step.is_notable else ""
    line(step_line(step), style)


async def verify(url: str | None, name: str | None, *, json: bool) -> Exit:
    checked = records = 0
    findings: list[_Finding] = []
    async with journal_at(url) as journal:
        with _told_though_it_fails(findings, json=json), counting("records") as count:
            with _found(findings):
                async for run_id in _asked_for(journal, name):
                    check = RunCheck()
                    checked += 1
                    with _found(findings, run_id):
                        async for record in records_of(journal, run_id):
                            check.add(record)
                            records += 1
                            count.one_more()
            with _found(findings):
                if name is None and (lost := await journal.nameless()):
                    findings.append({"run_id": None, "finding": _nameless(lost)})
    with perhaps_unread():
        if json:
            as_json({"runs": checked, "records": records, "findings": findings})
        else:
            _show_findings(findings)
            state = f"{len(findings)} damaged" if findings else "whole"
            line(f"{counted(checked, 'run')}, {counted(records, 'record')}: {state}")
    return Exit.FINDING if findings else Exit.FINE


@contextmanager
def _found(findings: list[_Finding], run_id: RunId | None = None) -> Iterator[None]:
    """Go on behind what is damaged."""
    try:
        yield
    except JournalCorrupt as error:
        findings.append({"run_id": None if run_id is None else str(run_id), "finding": error.message})


@contextmanager
def _told_though_it_fails(findings: Sequence[_Finding], *, json: bool) -> Iterator[None]:
    """Show what was found before the journal failed; as JSON it would be half an answer."""
    try:
        yield
    except JournalFailure:
        if not json:
            _show_findings(findings)
        raise


def _show_findings(findings: Sequence[_Finding]) -> None:
    with perhaps_unread():
        for each in findings:
            line(each["finding"], "red")


def _nameless(runs: int) -> str:
    return (
        f"the journal has records of {counted(runs, 'run')} whose id is gone: it was tampered with or damaged; "
        "restore it from a copy"
    )


async def _asked_for(journal: StoredRuns, name: str | None) -> AsyncIterator[RunId]:
    if name is not None:
        # Where nobody can tell its last record, that is something to be found.
        with suppress(JournalCorrupt):
            await run_named(journal, name)
        yield RunId(name)
        return
    async for run in journal.runs():
        yield run.run_id


async def tail(url: str | None, name: str, last: int, *, json: bool) -> Exit:
    async with journal_at(url) as journal:
        run_id = await run_named(journal, name)
        earlier: deque[Step] = deque(maxlen=min(last, MOST_RECORDS))
        live: set[str] = set()
        steps = stepping(_following(journal, run_id, live))
        caught_up_at = await journal.last(run_id)
        assert caught_up_at is not None
        if not json:
            line(STEP_HEADINGS, "bold")
        async for step in steps:
            if step.record.journal_seq > caught_up_at.journal_seq:
                _show(step, json=json)
            else:
                earlier.append(step)
                if step.record.journal_seq == caught_up_at.journal_seq:
                    for each in earlier:
                        _show(each, json=json)
            flush()
    return Exit.FINE


async def _following(journal: StoredRuns, run_id: RunId, live: set[str]) -> AsyncIterator[JournalRecord]:
    """The records of a run, those too that are still to come, until each of its sessions has ended."""
    position = 0
    while True:
        async for record in records_of(journal, run_id, after=position):
            position = record.journal_seq
            session_id = str(record.payload.session_id)
            live.add(session_id)
            if record.payload.kind in _TERMINAL:
                live.discard(session_id)
            yield record
        if not live:
            return
        await anyio.sleep(POLL_S)


async def report(
    url: str | None, name: str, input_rate: int | None, output_rate: int | None, *, json: bool
) -> Exit:
    fold = ReportFold(_pcm16(input_rate), _pcm16(output_rate))
    async with journal_at(url) as journal:
        run_id = await run_named(journal, name)
        with counting("records") as count:
            async for record in records_of(journal, run_id):
                fold.add(record)
                count.one_more()
    if json:
        as_json(fold.report())
        return Exit.FINE
    for each in told(fold.report()):
        line(each)
    return Exit.FINE


def _pcm16(rate: int | None) -> AudioFormat | None:
    return None if rate is None else AudioFormat(sample_rate=rate)


async def export(url: str | None, name: str, form: Format) -> Exit:
    assert form is Format.JSONL
    async with journal_at(url) as journal:
        run_id = await run_named(journal, name)
        # On a terminal the records themselves show how far it is.
        with nullcontext() if sys.stdout.isatty() else counting("records") as count:
            async for record in records_of(journal, run_id):
                json_line(encode(record).decode())
                if count is not None:
                    count.one_more()
    return Exit.FINE


async def migrate(url: str | None) -> Exit:
    if not url or not url.startswith(("postgresql:", "postgres:")):
        raise ContractViolation(
            "only a journal in PostgreSQL has tables to migrate: give --journal postgresql://USER@HOST:PORT/DATABASE"
        )
    from realtime_async.journals import PostgresJournal  # noqa: PLC0415 - its driver is an extra

    await PostgresJournal.migrate(url)
    line(f"migrated {masked(url)}")
    return Exit.FINE
