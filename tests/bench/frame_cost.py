"""What a frame costs in CPU when nothing waits but what has to: as many frames as the loop can take."""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Iterator, Sequence
from functools import partial
from itertools import product
from pathlib import Path

import anyio
import attrs

from realtime_async import (
    JournalRecord,
    RealtimeInputFrame,
    RealtimeSession,
    RealtimeSessionId,
    RestartPolicy,
    RunId,
    RunJournal,
)
from tests.bench import raw_sqlite
from tests.bench.figures import Figure, Row, Table
from tests.bench.goals import ADDED_US
from tests.bench.stage import (
    FRAME_S,
    FRAMES,
    SIDECAR,
    Effort,
    Loop,
    NowaitNullAdapter,
    NullAdapter,
    Operation,
    Records,
    Store,
    Work,
    cpu_of,
    in_turn,
    opened_journal,
    opened_sessions,
    recorded_run,
)
from tests.bench.yardstick import CHECKPOINT_US, at_goals_speed, between, checkpoint_us

__all__ = ["COLUMNS", "Case", "Reading", "frames_cost", "receive_cost", "row", "send_cost"]

COLUMNS = (
    "µs/frame",
    "added µs",
    "checkpoint µs",
    "added µs at goals' speed",
    "× bare call",
    "× raw insert",
    "rows/commit",
)
# The bare call takes a tenth of a microsecond: enough of them that the clock can tell.
FLOOR_FRAMES = 20_000
BEFORE, AFTER = RunId("before"), RunId("after")
"""Runs of one record each, which is durable once all that was appended before it is."""


@attrs.frozen
class Case:
    """One row of a table."""

    operation: Operation
    adapter: NullAdapter
    loop: Loop
    sessions: int
    store: Store
    records: Records

    def frames_each(self, effort: Effort) -> int:
        """How many frames every session sends or receives in one reading: whole spans."""
        return max(1, effort.frames[self.records] // self.sessions // len(FRAMES)) * len(FRAMES)

    def frames_before(self, effort: Effort) -> int:
        """
        How many frames every session sends or receives before anything is counted, as it would in any call.

        What a session waits for once, its first intent, is behind it then; where frames are cheap, its tail is full.
        """
        sidecar = SIDECAR[self.records]
        if self.operation is not Operation.SEND or sidecar.span is None:
            return len(FRAMES)
        full = round(sidecar.replay_tail_s / FRAME_S)
        return min(full, effort.frames[self.records]) // len(FRAMES) * len(FRAMES) or len(FRAMES)


@attrs.frozen
class Reading:
    """One round of a case, with its floors; CPU µs per frame."""

    bare: float
    session: float
    checkpoint: float
    """Of one beside the session's frames."""
    raw: float | None = None
    rows_per_commit: float | None = None

    @property
    def added(self) -> float:
        return self.session - self.bare


def send_cost(effort: Effort, directory: Path) -> Iterator[Table]:
    for adapter in (NowaitNullAdapter(), NullAdapter()):
        yield from _tables(Operation.SEND, adapter, effort, directory)


def receive_cost(effort: Effort, directory: Path) -> Iterator[Table]:
    yield from _tables(Operation.RECEIVE, NullAdapter(), effort, directory)


def frames_cost(effort: Effort, directory: Path) -> Iterator[Table]:
    yield from _tables(Operation.FRAMES, NullAdapter(), effort, directory)


def _tables(operation: Operation, adapter: NullAdapter, effort: Effort, directory: Path) -> Iterator[Table]:
    what = str(operation)
    if operation is Operation.SEND:
        what = f"send, adapter {'with' if isinstance(adapter, NowaitNullAdapter) else 'without'} send_nowait"
    for loop, sessions in product(Loop, effort.sessions):
        cases = [Case(operation, adapter, loop, sessions, *each) for each in product(Store, Records)]
        rows = [row(case, _rounds(case, effort, directory)) for case in cases]
        yield Table(
            f"{what}, saturated, {loop}, {sessions} {'session' if sessions == 1 else 'sessions'}",
            COLUMNS,
            [_bare(rows), *rows],
        )


def _bare(rows: Sequence[Row]) -> Row:
    """The floor of all rows of a table: what is left of each figure without what the session added."""
    costs, added = rows[0].figures[:2]
    assert costs is not None
    assert added is not None
    bare = [cost - more for cost, more in zip(costs.readings, added.readings, strict=True)]
    return Row("no journal: the bare call", (Figure(bare), *[None] * (len(COLUMNS) - 1)))


def row(case: Case, rounds: Sequence[Reading]) -> Row:
    """What the table says of *case*; its goal is held against what was added at the goals' speed."""
    goal = ADDED_US.get((case.operation, case.store, case.records))
    if case.store is Store.SQLITE and case.sessions == 1:
        goal = None
    commits = [each.rows_per_commit for each in rounds if each.rows_per_commit is not None]
    return Row(
        f"{case.store}, {case.records}",
        (
            Figure(each.session for each in rounds),
            Figure(each.added for each in rounds),
            Figure(each.checkpoint for each in rounds),
            Figure(
                (at_goals_speed(each.added, each.checkpoint, CHECKPOINT_US[case.loop]) for each in rounds),
                goal,
            ),
            Figure(each.session / each.bare for each in rounds),
            Figure(each.session / each.raw for each in rounds if each.raw is not None) if commits else None,
            Figure(commits) if commits else None,
        ),
    )


def _rounds(case: Case, effort: Effort, directory: Path) -> list[Reading]:
    # The first is shorter and thrown away: it fills the caches, and Python adapts itself to the code.
    _read(case, attrs.evolve(effort, frames=dict.fromkeys(Records, 0)), directory, 0)
    return [_read(case, effort, directory, number) for number in range(effort.rounds)]


def _read(case: Case, effort: Effort, directory: Path, number: int) -> Reading:
    frames = case.frames_each(effort)
    bare, (session, checkpoint, batches) = in_turn(
        number,
        partial(anyio.run, _bare_cpu, case, backend=case.loop),
        partial(
            anyio.run, _session_cpu, case, case.frames_before(effort), frames, directory, backend=case.loop
        ),
    )
    session_us = session / frames / case.sessions * 1e6
    if not batches:
        return Reading(bare, session_us, checkpoint)
    raw = raw_sqlite.commit(batches, directory).cpu_s / frames / case.sessions * 1e6
    return Reading(bare, session_us, checkpoint, raw, sum(map(len, batches)) / len(batches))


async def _bare_cpu(case: Case) -> float:
    """CPU µs of one call of the adapter."""
    session_id = RealtimeSessionId("bare")
    times = FLOOR_FRAMES // len(FRAMES) // case.sessions
    works: Sequence[Work]
    if case.operation is not Operation.SEND:
        works = [partial(_receive_all, partial(case.adapter.receive, session_id), times * len(FRAMES))]
    elif isinstance(case.adapter, NowaitNullAdapter):
        works = [partial(_take_all, case.adapter, session_id, times)]
    else:
        works = [partial(_send_all, partial(case.adapter.send, session_id), times)]
    calls = times * len(FRAMES) * case.sessions
    return await cpu_of([*works] * case.sessions) / calls * 1e6


async def _session_cpu(
    case: Case, before: int, frames: int, directory: Path
) -> tuple[float, float, list[list[raw_sqlite.RawRow]]]:
    """CPU seconds of all frames of all sessions, µs of a checkpoint, and the rows of each commit for the frames."""
    # `frames` is what the pump of a supervised session fills.
    policy = RestartPolicy() if case.operation is Operation.FRAMES else None
    async with (
        opened_journal(case.store, directory) as (journal, file),
        opened_sessions(
            case.sessions, SIDECAR[case.records], case.adapter, journal, restart_policy=policy
        ) as sessions,
    ):
        first = (await recorded_run(0))[0]
        await cpu_of(
            [_work(case.operation, session, before) for session in sessions],
            partial(_settled, journal, attrs.evolve(first, run_id=BEFORE)),
        )
        works = [_work(case.operation, session, frames) for session in sessions]
        if file is None:
            return *await between(checkpoint_us, partial(cpu_of, works)), []
        file.batches.clear()
        settled = partial(_settled, journal, attrs.evolve(first, run_id=AFTER))
        cpu, checkpoint = await between(checkpoint_us, partial(cpu_of, works, settled))
        return cpu, checkpoint, raw_sqlite.Numbers().batches(list(file.batches))


def _work(operation: Operation, session: RealtimeSession, frames: int) -> Work:
    match operation:
        case Operation.SEND:
            return partial(_send_all, session.controller.send, frames // len(FRAMES))
        case Operation.RECEIVE:
            return partial(_receive_all, session.controller.receive, frames)
        case Operation.FRAMES:
            return partial(_iterate, session, frames)


async def _take_all(adapter: NowaitNullAdapter, session_id: RealtimeSessionId, times: int) -> None:
    takes = adapter.send_nowait
    for _ in range(times):
        for frame in FRAMES:
            takes(session_id, frame)


async def _send_all(send: Callable[[RealtimeInputFrame], Awaitable[object]], times: int) -> None:
    for _ in range(times):
        for frame in FRAMES:
            await send(frame)


async def _receive_all(receive: Callable[[], Awaitable[object]], frames: int) -> None:
    for _ in range(frames):
        await receive()


async def _iterate(session: RealtimeSession, frames: int) -> None:
    received = session.frames()
    for _ in range(frames):
        await anext(received)


async def _settled(journal: RunJournal, mark: JournalRecord) -> None:
    """Wait for all that was appended so far: commits keep the order of appends, across runs too."""
    await journal.append(mark)
