"""
A program that lets sessions die for good: each in a process of its own, which kills itself.

    python -m tests.controller.killing DIRECTORY SIDECAR [DATABASE]

For every moment of a call it prints one line of JSON: what was told by the process that died and by the one
that resumed, and what the journal holds in the end.
The processes are forked when everything is imported, as starting Python would take longer than all they do.
"""

from __future__ import annotations

import json
import logging
import os
import signal
import sys
from collections.abc import Awaitable, Callable
from functools import partial
from pathlib import Path
from typing import Any

import anyio
import anyio.to_thread
import attrs
import structlog

from realtime_async.errors import SessionStateError
from realtime_async.testing.clock import BACKENDS
from tests.controller.dying import RUN, SIDECARS, Death, Tell, call_up, live
from tests.journals.places import Place, emptied, opened, without_the_dead

__all__: list[str] = []


async def in_a_thread() -> None:
    await anyio.to_thread.run_sync(os.getpid)


def kill_me() -> None:
    os.kill(os.getpid(), signal.SIGKILL)


def in_a_process(backend: str, work: Callable[[], Awaitable[None]]) -> int:
    """Do *work* in a child; returns how that ended."""
    child = os.fork()
    if child == 0:
        code = 1
        try:
            anyio.run(work, backend=backend)
            code = 0
        finally:
            sys.stderr.flush()
            os._exit(code)
    _, status = os.waitpid(child, 0)
    return os.waitstatus_to_exitcode(status)


def telling(path: Path) -> Tell:
    """Write what is told at once, so that it outlives the process."""
    file = os.open(path, os.O_WRONLY | os.O_CREAT | os.O_APPEND)

    def tell(what: str, fact: Any) -> None:
        os.write(file, (json.dumps([what, fact]) + "\n").encode())

    return tell


async def first(place: Place, folder: Path, sidecar: str, moment: int) -> None:
    async with opened(place) as journal:
        await live(journal, SIDECARS[sidecar], Death(moment, kill_me), telling(folder / "first"))


async def second(place: Place, folder: Path, sidecar: str) -> None:
    tell = telling(folder / "second")
    async with opened(place) as journal:
        tell("buried", sum([1 async for _ in journal.read(RUN)]))
        try:
            await call_up(journal, SIDECARS[sidecar], tell)
        except SessionStateError as refused:
            tell("refused", str(refused))
        records: list[dict[str, Any]] = [attrs.asdict(record) async for record in journal.read(RUN)]
        tell("records", records)


def told(path: Path) -> list[Any]:
    return (
        [json.loads(line) for line in path.read_text(encoding="utf-8").splitlines()] if path.exists() else []
    )


def main(directory: Path, sidecar: str, database: str = "") -> None:
    structlog.configure(wrapper_class=structlog.make_filtering_bound_logger(logging.CRITICAL))
    for backend in BACKENDS:
        # What only a running loop imports.
        anyio.run(in_a_thread, backend=backend)
    counting = directory / "counting"
    counting.mkdir()
    code = in_a_process(BACKENDS[0], partial(first, emptied(database, counting), counting, sidecar, 0))
    moments = dict(told(counting / "first"))["moments"]
    assert code == 0
    for moment in range(1, moments + 1):
        folder = directory / str(moment)
        folder.mkdir()
        backend = BACKENDS[(moment // 2) % len(BACKENDS)]
        place = emptied(database, folder)
        code = in_a_process(backend, partial(first, place, folder, sidecar, moment))
        if code == 0 and dict(told(folder / "first"))["moments"] < moment:
            # The longer a commit takes, the more of what is begun at once is already over: this call had less.
            continue
        assert code == -signal.SIGKILL, (moment, code)
        without_the_dead(place)
        code = in_a_process(backend, partial(second, place, folder, sidecar))
        assert code == 0, (moment, code)
        print(json.dumps([moment, told(folder / "first") + told(folder / "second")]), flush=True)


if __name__ == "__main__":
    main(Path(sys.argv[1]), *sys.argv[2:])
