"""The floor of every PostgreSQL figure: the same rows in the same commits, by COPY alone."""

from __future__ import annotations

import time
from collections.abc import Iterable, Sequence
from contextlib import closing

import psycopg

from tests.bench.raw_sqlite import Committed, Kept, Numbers

__all__ = ["blocks", "copy"]


def blocks(batches: Iterable[Sequence[Kept]]) -> list[str]:
    """What COPY reads, one text for each batch: rows of the numbers and bodies that a journal writes."""
    return ["".join(map(_line, batch)) for batch in Numbers().batches(batches)]


def _line(row: tuple[int | str, ...]) -> str:
    return "\t".join(str(value).replace("\\", "\\\\") for value in row) + "\n"


def copy(texts: Sequence[str], dsn: str) -> Committed:
    """Write each of *texts* in a transaction of its own, which waits for the disk."""
    with closing(psycopg.connect(dsn, autocommit=True)) as connection:
        connection.execute(
            "CREATE TABLE raw (run bigint, seq bigint, session int, connection int, sort int, body text,"
            " PRIMARY KEY (run, seq))"
        )
        waits: list[float] = []
        started = time.process_time()
        for text in texts:
            began = time.perf_counter()
            with connection.cursor().copy("COPY raw FROM STDIN") as rows:
                rows.write(text)
            waits.append(time.perf_counter() - began)
        cpu_s = time.process_time() - started
        connection.execute("DROP TABLE raw")
        return Committed(cpu_s, tuple(waits))
