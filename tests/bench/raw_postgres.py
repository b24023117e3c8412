"""The floor of every PostgreSQL figure: the same rows in the same commits, by COPY alone."""

from __future__ import annotations

import time
from collections.abc import Callable, Iterable, Iterator, Sequence
from contextlib import closing, contextmanager

import psycopg

from tests.bench.raw_sqlite import Committed, Kept, Numbers

__all__ = ["blocks", "copy", "copying"]


def blocks(batches: Iterable[Sequence[Kept]]) -> list[str]:
    """What COPY reads, one text for each batch: rows of the numbers and bodies that a journal writes."""
    return ["".join(map(_line, batch)) for batch in Numbers().batches(batches)]


def _line(row: tuple[int | str, ...]) -> str:
    return "\t".join(str(value).replace("\\", "\\\\") for value in row) + "\n"


@contextmanager
def copying(dsn: str) -> Iterator[Callable[[str], float]]:
    """What writes a text in a transaction of its own, which waits for the disk, and says for how long."""
    with closing(psycopg.connect(dsn, autocommit=True)) as connection:
        connection.execute(
            "CREATE TABLE raw (run bigint, seq bigint, session int, connection int, sort int, body text,"
            " PRIMARY KEY (run, seq))"
        )

        def copied(text: str) -> float:
            began = time.perf_counter()
            with connection.cursor().copy("COPY raw FROM STDIN") as rows:
                rows.write(text)
            return time.perf_counter() - began

        yield copied
        connection.execute("DROP TABLE raw")


def copy(texts: Sequence[str], dsn: str) -> Committed:
    """Write each of *texts*, one after the other."""
    with copying(dsn) as copied:
        started = time.process_time()
        waits_s = tuple(map(copied, texts))
        return Committed(time.process_time() - started, waits_s)
