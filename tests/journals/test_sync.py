"""
Before an append returns, the disk has the record: seen in the system calls of the process.

That a process was killed proves nothing about the disk, as what it had written is the kernel's by then.
"""

from __future__ import annotations

import re
import shutil
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import attrs
import pytest

__all__: list[str] = []

ROOT = Path(__file__).parents[2]
RECORDS = 5
CALLS = "write,pwrite64,fsync,fdatasync"

# 4711 pwrite64(3</tmp/calls.db-wal>, "..."..., 4096, 56) = 4096
# 4711 fdatasync(3</tmp/calls.db-wal> <unfinished ...>
# 4711 <... fdatasync resumed>) = 0
_CALL = re.compile(r"(?P<thread>\d+) +(?P<name>\w+)\((?P<rest>.*)")
_RESUMED = re.compile(r"(?P<thread>\d+) +<\.\.\. (?P<name>\w+) resumed>(?P<rest>.*)")
_SYNCS = {"fsync", "fdatasync"}


@attrs.frozen
class Traced:
    """A system call, where it began; a sync, where it had succeeded."""

    name: str
    text: str


def system_calls(trace: str) -> Iterator[Traced]:
    begun: dict[str, str] = {}
    for line in trace.splitlines():
        call = _CALL.match(line)
        if call is not None:
            name, text = call["name"], call["rest"]
            begun[call["thread"]] = text
        elif (resumed := _RESUMED.match(line)) is not None:
            name, text = resumed["name"], begun[resumed["thread"]] + resumed["rest"]
            if name not in _SYNCS:
                continue
        else:
            continue
        if name in _SYNCS and not text.endswith("= 0"):
            continue
        yield Traced(name, text)


def is_synced_before_it_returns(calls: list[Traced], seq: int) -> bool:
    """Whether the log was synced between the write of a record and the return of its append."""
    last_write = max(
        place
        for place, call in enumerate(calls)
        if call.name == "pwrite64"
        and "calls.db-wal" in call.text
        and f"record.run.0.{seq}.first" in call.text
        # SQLite writes a page again when a later record joins it.
        and f"record.run.0.{seq + 1}.first" not in call.text
    )
    (returned,) = (
        place for place, call in enumerate(calls) if call.name == "write" and f'"run.0 {seq}\\n"' in call.text
    )
    assert last_write < returned
    return any(
        call.name in _SYNCS and "calls.db-wal" in call.text for call in calls[last_write + 1 : returned]
    )


def trace_of_appending(directory: Path, backend: str, durability: str) -> list[Traced]:
    strace = shutil.which("strace")
    if strace is None:
        pytest.fail("strace is needed to see the journal's system calls: apt-get install strace")
    trace = directory / "trace"
    program = [sys.executable, "-m", "tests.journals.appending"]
    arguments = [str(directory / "calls.db"), durability, backend, "1", str(RECORDS)]
    subprocess.run(
        [strace, "-f", "-y", "-s", "65536", "-e", f"trace={CALLS}", "-o", str(trace), *program, *arguments],
        cwd=ROOT,
        check=True,
    )
    return list(system_calls(trace.read_text(encoding="utf-8", errors="replace")))


@pytest.mark.parametrize("backend", ["asyncio", "trio"])
def test_with_full_durability_a_sync_lies_between_write_and_return(tmp_path: Path, backend: str) -> None:
    calls = trace_of_appending(tmp_path, backend, "full")

    assert [is_synced_before_it_returns(calls, seq) for seq in range(1, RECORDS + 1)] == [True] * RECORDS


@pytest.mark.parametrize("backend", ["asyncio", "trio"])
def test_with_normal_durability_no_sync_does(tmp_path: Path, backend: str) -> None:
    """So the test above sees a sync that is missing."""
    calls = trace_of_appending(tmp_path, backend, "normal")

    assert [is_synced_before_it_returns(calls, seq) for seq in range(1, RECORDS + 1)] == [False] * RECORDS
