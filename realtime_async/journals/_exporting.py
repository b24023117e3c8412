"""The lines of an export, as the records that they were made of."""

from __future__ import annotations

from collections.abc import Iterable, Iterator

from realtime_async.errors import JournalCorrupt
from realtime_async.journals._codec import decode
from realtime_async.ports import JournalRecord

__all__ = ["read_export"]


def read_export(lines: Iterable[str | bytes]) -> Iterator[JournalRecord]:
    """
    Yield the records of what `realtime-async export` has written: an open file, or its lines.

    Each is read when it is asked for, and lines of nothing are passed over.
    `RunCheck` finds out whether they are a whole run.

    Raises:
        JournalCorrupt: A line is no record, or one that a newer release has written; it is named.
    """
    for number, line in enumerate(lines, start=1):
        if not line.strip():
            continue
        try:
            record = decode(line)
        except JournalCorrupt as error:
            raise JournalCorrupt(f"line {number} of an export: {error.message}") from error
        yield record
