"""What the journals of this package say when they refuse: whose run, and where it goes on."""

from __future__ import annotations

import re
from contextlib import AbstractAsyncContextManager
from pathlib import Path
from typing import Any

import attrs
import pytest

from realtime_async.errors import ContractViolation, InvalidIdentifier, JournalConflict, JournalFailure
from realtime_async.journals import MemoryJournal, PostgresJournal, SqliteJournal
from realtime_async.ports import JournalCursor, RunId
from realtime_async.testing._journal_records import record
from tests.postgres_server import Database

RUN = RunId("run-1")


@pytest.mark.parametrize("kind", ["memory", "sqlite"])
async def test_a_refusal_names_the_run_and_what_it_goes_on_with(kind: str, tmp_path: Path) -> None:
    opened = MemoryJournal() if kind == "memory" else SqliteJournal.open(tmp_path / "calls.db")
    async with opened as journal:
        with pytest.raises(JournalFailure, match=f"{RUN}.* goes on at 1"):
            await journal.append(record(RUN, 2))
        for seq in (1, 2, 3):
            await journal.append(record(RUN, seq))

        with pytest.raises(JournalFailure, match=f"{RUN}.* goes on at 4"):
            await journal.append(record(RUN, 5))
        with pytest.raises(JournalConflict, match=RUN):
            await journal.append(record(RUN, 3, nonce="second-owner"))

    with pytest.raises(JournalFailure, match="closed"):
        await journal.append(record(RUN, 4))


# As an int is shown, so that a number of any length is named in a line.
NO_POSITIONS: dict[str, object] = {
    "-1": -1,
    "9223372036854775808": 2**63,
    "an int of 3322 bits": 10**1000,
    "1.0": 1.0,
    "True": True,
    "'1'": "1",
    "None": None,
    "of type list": [],
}


@pytest.fixture(params=["memory", "sqlite", "postgres"])
def each_journal(
    request: pytest.FixtureRequest, tmp_path: Path
) -> AbstractAsyncContextManager[MemoryJournal | SqliteJournal | PostgresJournal]:
    match request.param:
        case "memory":
            return MemoryJournal()
        case "sqlite":
            return SqliteJournal.open(tmp_path / "calls.db")
        case _:
            database: Database = request.getfixturevalue("postgres_database")
            return PostgresJournal.open(database.dsn)


async def test_a_position_that_is_none_is_refused_with_what_would_be_one(
    each_journal: AbstractAsyncContextManager[MemoryJournal | SqliteJournal | PostgresJournal],
) -> None:
    async with each_journal as journal:
        await journal.append(record(RUN, 1))

        for shown, after in NO_POSITIONS.items():
            said = re.escape(
                f"run {str(RUN)!r} cannot be read after {shown}: give the whole number of a record"
            )
            with pytest.raises(ContractViolation, match=said):
                journal.read(RUN, after=after)  # type: ignore[arg-type]  # what a program may get wrong

        assert [one async for one in journal.read(RUN, after=2**63 - 1)] == []
        assert [one async for one in journal.read(RUN, after=0)] == [record(RUN, 1)]


async def test_a_record_is_of_its_own_run_id_though_the_run_was_asked_for_by_a_plain_text(
    each_journal: AbstractAsyncContextManager[MemoryJournal | SqliteJournal | PostgresJournal],
) -> None:
    async with each_journal as journal:
        await journal.append(record(RUN, 1))

        found = [one async for one in journal.read("run-1")]  # type: ignore[arg-type]  # what a program may do
        last = await journal.last("run-1")  # type: ignore[arg-type]  # so

    assert found == [record(RUN, 1)]
    assert last == JournalCursor(RUN, 1)
    assert [type(found[0].run_id), type(last.run_id)] == [RunId, RunId]


@pytest.mark.parametrize("run_id", ["", "front desk", "a\x00b", None, 5], ids=repr)
async def test_a_run_that_cannot_be_is_not_looked_for(
    run_id: Any, each_journal: AbstractAsyncContextManager[MemoryJournal | SqliteJournal | PostgresJournal]
) -> None:
    """To a database it would be one that nobody wrote, or an error of its driver."""
    async with each_journal as journal:
        with pytest.raises(InvalidIdentifier):
            journal.read(run_id)
        with pytest.raises(InvalidIdentifier):
            await journal.last(run_id)


@pytest.mark.parametrize("after", [None, 5, b"run-1", "a\x00b", "\ud800"], ids=ascii)
async def test_runs_are_not_listed_after_what_can_be_no_run(
    after: Any, each_journal: AbstractAsyncContextManager[MemoryJournal | SqliteJournal | PostgresJournal]
) -> None:
    async with each_journal as journal:
        with pytest.raises(ContractViolation, match="give the id of a run, or '' for all of them"):
            journal.runs(after=after)


# As a program may put a record together by itself, whatever the types say.
UNREADABLE: dict[str, tuple[dict[str, Any], str]] = {
    "run": ({"run_id": "front desk"}, "record 1 cannot be appended: RunId 'front desk' is not"),
    "place of a text": ({"journal_seq": "1"}, "run 'run-1' cannot append '1': give the whole number"),
    "place of a bool": ({"journal_seq": True}, "run 'run-1' cannot append True: give the whole number"),
    "place of a float": ({"journal_seq": 1.0}, "run 'run-1' cannot append 1.0: give the whole number"),
    "place of 71 bits": ({"journal_seq": 2**70}, "run 'run-1' cannot append 1180591620717411303424: give"),
    "agent": ({"agent_id": "a b"}, "run 'run-1' cannot append 1: .* none that could be read again"),
    "session": ({"session_id": "a\x00b"}, "run 'run-1' cannot append 1: .* none that could be read again"),
    "connection": ({"connection_id": ""}, "run 'run-1' cannot append 1: .* none that could be read again"),
    "release": ({"schema_version": 99}, "run 'run-1' cannot append 1: .* none that could be read again"),
    "id": ({"record_id": 5}, "run 'run-1' cannot append 1: .* none that could be read again"),
    "time": ({"timestamp_millis": 1.5}, "run 'run-1' cannot append 1: .* none that could be read again"),
    "frame": ({"frame_id": "a frame"}, "run 'run-1' cannot append 1: .* none that could be read again"),
    "intent": ({"effect_intent_ref": "="}, "run 'run-1' cannot append 1: .* none that could be read again"),
    "itself": (
        {"record_id": "a record", "effect_result_ref": "a record"},
        "run 'run-1' cannot append 1: .* none that could be read again",
    ),
    "reference": (
        {"content_refs": ("a b",)},
        "run 'run-1' cannot append 1: .* none that could be read again",
    ),
    "reason": ({"close_reason": "bored"}, "run 'run-1' cannot append 1: .* none that could be read again"),
    "status": ({"status": "hopeful"}, "run 'run-1' cannot append 1: .* none that could be read again"),
}


@pytest.mark.parametrize("kind", ["sqlite", "postgres"])
@pytest.mark.parametrize("what", UNREADABLE)
async def test_a_record_that_could_not_be_read_is_not_taken_and_stops_nobody(
    kind: str, what: str, tmp_path: Path, request: pytest.FixtureRequest
) -> None:
    """To a server it would be an error of the whole commit."""
    opened: AbstractAsyncContextManager[SqliteJournal | PostgresJournal]
    if kind == "sqlite":
        opened = SqliteJournal.open(tmp_path / "calls.db")
    else:
        opened = PostgresJournal.open(request.getfixturevalue("postgres_database").dsn)
    values, said = UNREADABLE[what]
    one = record(RUN, 1)
    of_payload = {name: value for name, value in values.items() if hasattr(one.payload, name)}
    of_envelope = {name: value for name, value in values.items() if name not in of_payload}
    odd = attrs.evolve(one, payload=attrs.evolve(one.payload, **of_payload), **of_envelope)
    async with opened as journal:
        other = journal.append(record(RunId("run-2"), 1))
        with pytest.raises(JournalFailure, match=said):
            journal.append(odd)

        assert await other == JournalCursor(RunId("run-2"), 1)
        assert await journal.append(one) == JournalCursor(RUN, 1)
