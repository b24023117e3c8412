"""What calls in real time pay for a journal in PostgreSQL, and how fast a long one is recovered from there."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from itertools import product
from pathlib import Path

import anyio

from realtime_async.journals import PostgresJournal
from tests.bench.figures import Figure, Row, Table
from tests.bench.folding import folded
from tests.bench.paced import Place, Reading, bare_calls, session_calls
from tests.bench.postgres import written_out
from tests.bench.recovering import COLUMNS, recovered, write
from tests.bench.stage import FRAME_S, Effort, Loop, Operation, Records
from tests.postgres_server import DatabaseMaker, cluster, databases

__all__ = ["postgres_calls"]

# Of as many records as `recovery` reads from a file: writing them takes a server ten times as long.
SHARE = 10

Variant = Records | None
"""A row of a table; None: the bare call of the adapter."""


def postgres_calls(effort: Effort, directory: Path) -> Iterator[Table]:
    with cluster() as server, databases(server.admin_dsn) as maker:
        for operation, loop in product((Operation.SEND, Operation.RECEIVE), Loop):
            frames = round(effort.paced_s / FRAME_S)
            yield _paced(effort, Place(operation, loop, effort.supervised_sessions, frames, directory), maker)
        yield _recovery(effort.recovered_records // SHARE, maker)


def _paced(effort: Effort, place: Place, maker: DatabaseMaker) -> Table:
    variants: list[Variant] = [None, *Records]
    readings: dict[Variant, list[Reading]] = {variant: [] for variant in variants}
    for number in range(effort.rounds):
        for variant in variants if number % 2 == 0 else reversed(variants):
            readings[variant].append(_read(place, variant, maker))
    return Table(
        f"{place.operation}, paced 50 frames/s each, PostgreSQL, {place.loop}, {place.sessions} sessions",
        ("CPU µs/frame", "cores busy", "wait p50 µs", "wait p99 ms", "added p99 ms"),
        [_row(variant, readings[variant], readings[None]) for variant in variants],
    )


def _read(place: Place, variant: Variant, maker: DatabaseMaker) -> Reading:
    if variant is None:
        return anyio.run(bare_calls, place, backend=place.loop)
    with written_out(maker) as database:
        return anyio.run(_stored_calls, place, database.dsn, variant, backend=place.loop)


async def _stored_calls(place: Place, dsn: str, records: Records) -> Reading:
    async with PostgresJournal.open(dsn) as journal:
        return await session_calls(place, journal, records)


def _row(variant: Variant, mine: Sequence[Reading], bare: Sequence[Reading]) -> Row:
    figures = [
        Figure(each.cpu_us for each in mine),
        Figure(each.cores for each in mine),
        Figure(each.p50_us for each in mine),
        Figure(each.p99_ms for each in mine),
    ]
    if variant is None:
        return Row("no journal: the bare call", (*figures, None))
    added = Figure(each.p99_ms - floor.p99_ms for each, floor in zip(mine, bare, strict=True))
    return Row(variant, (*figures, added))


def _recovery(count: int, maker: DatabaseMaker) -> Table:
    with maker.database() as database:
        anyio.run(_write, database.dsn, count)
        rows = [
            recovered(f"read from PostgreSQL, {loop}", count, folded(count, url=database.dsn, loop=loop))
            for loop in Loop
        ]
    return Table(f"recovery of a run of {count:,} records, PostgreSQL", COLUMNS, rows)


async def _write(dsn: str, count: int) -> None:
    async with PostgresJournal.open(dsn) as journal:
        await write(journal, count)
