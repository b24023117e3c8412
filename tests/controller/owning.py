"""
A program in which processes contend for runs; it prints what became of each of them, as JSON.

    python -m tests.controller.owning PLACE race|pause ROUNDS BACKEND
"""

from __future__ import annotations

import json
import logging
import os
import signal
import sys
import traceback
from collections.abc import Awaitable, Callable, Sequence
from functools import partial
from typing import Any

import anyio
import anyio.lowlevel
import structlog

from realtime_async import RealtimeInputFrame, RealtimeSessionController
from realtime_async.adapters.scripted import ScriptedAdapter
from realtime_async.errors import AgentError
from realtime_async.ports import JournalCursor, JournalRecord, RunId, RunJournal
from tests.controller.staged import plain_sidecar
from tests.journals.places import SharedJournal, opened

__all__: list[str] = []

SIDECAR = plain_sidecar()
FAILED = "a process failed: see above"


class Line:
    """Two pipes: a word each way, and whoever reads waits for it."""

    def __init__(self) -> None:
        self._to_child, self._to_parent = os.pipe(), os.pipe()

    def say(self, *, up: bool) -> None:
        os.write(self._to_parent[1] if up else self._to_child[1], b".")

    def wait(self, *, up: bool) -> None:
        assert os.read(self._to_parent[0] if up else self._to_child[0], 1)


class HeldJournal:
    """Waits at the line before its first append."""

    def __init__(self, inner: RunJournal, line: Line) -> None:
        self._inner = inner
        self._line: Line | None = line

    def append(self, record: JournalRecord) -> Any:
        if self._line is not None:
            line, self._line = self._line, None
            line.say(up=True)
            line.wait(up=False)
        return self._inner.append(record)

    def __getattr__(self, name: str) -> Any:
        return getattr(self._inner, name)


def forked(work: Callable[[], Awaitable[None]], backend: str) -> int:
    child = os.fork()
    if child == 0:
        code = 1
        try:
            anyio.run(work, backend=backend)
            code = 0
        except BaseException:
            traceback.print_exc()
        finally:
            os._exit(code)
    return child


def tell(**facts: Any) -> None:
    os.write(1, (json.dumps(facts) + "\n").encode())


async def begun(place: str, rounds: int) -> None:
    async with opened(place) as journal:
        for number in range(rounds):
            owner = RealtimeSessionController(SIDECAR, ScriptedAdapter(), journal, run_id=f"run-{number}")
            await owner.connect()
            await owner.send(RealtimeInputFrame.text("x"))


async def contend(place: str, rounds: int, name: str, line: Line) -> None:
    """Resume every run at the same moment as another."""
    async with opened(place) as journal:
        for number in range(rounds):
            adapter, error = ScriptedAdapter(), None
            try:
                await RealtimeSessionController.resume(
                    SIDECAR, adapter, HeldJournal(journal, line), run_id=f"run-{number}"
                )
            except AgentError as raised:
                error = type(raised).__name__
            tell(round=number, name=name, error=error, calls=adapter.calls)
            line.say(up=True)
            line.wait(up=False)


async def written(journal: SharedJournal, run_id: RunId, through: int) -> None:
    """Wait until the file has the run's record number *through*."""
    while await journal.last(run_id) != JournalCursor(run_id, through):
        await anyio.lowlevel.checkpoint()


async def own(place: str, rounds: int, line: Line) -> None:
    """Own every run, be stopped, and go on as if nothing had been."""
    async with opened(place) as journal:
        for number in range(rounds):
            adapter, error = ScriptedAdapter(), None
            owner = RealtimeSessionController(SIDECAR, adapter, journal, run_id=f"run-{number}")
            await owner.connect()
            await owner.send(RealtimeInputFrame.text("x"))
            # Stopped within a commit, it would keep the file locked, and nobody could take anything over.
            await written(journal, RunId(f"run-{number}"), 4)
            line.say(up=True)
            line.wait(up=False)
            for _ in range(2):
                try:
                    await owner.send(RealtimeInputFrame.text("x"))
                except AgentError as raised:
                    error = type(raised).__name__
            tell(round=number, name="owner", error=error, calls=adapter.calls)
            line.say(up=True)


async def supersede(place: str, rounds: int, owner: int, line: Line) -> None:
    """Stop the owner of each run, take that over, and wake the owner."""
    async with opened(place) as journal:
        for number in range(rounds):
            line.wait(up=True)
            os.kill(owner, signal.SIGSTOP)
            adapter = ScriptedAdapter()
            heir = await RealtimeSessionController.resume(SIDECAR, adapter, journal, run_id=f"run-{number}")
            await heir.send(RealtimeInputFrame.text("x"))
            os.kill(owner, signal.SIGCONT)
            line.say(up=False)
            line.wait(up=True)
            await heir.send(RealtimeInputFrame.text("x"))
            tell(round=number, name="heir", error=None, calls=adapter.calls)


async def keep_in_step(rounds: int, lines: Sequence[Line]) -> None:
    """Let nobody go on before all have come: twice a round, before the first append and when it is over."""
    for _ in range(2 * rounds):
        for line in lines:
            line.wait(up=True)
        for line in lines:
            line.say(up=False)


def race(place: str, rounds: int, backend: str) -> list[int]:
    if os.waitpid(forked(partial(begun, place, rounds), backend), 0)[1]:
        sys.exit(FAILED)
    lines = {name: Line() for name in ("one", "two")}
    children = [forked(partial(contend, place, rounds, name, line), backend) for name, line in lines.items()]
    # In a process of its own, so that here is noticed who fails.
    return [*children, forked(partial(keep_in_step, rounds, [*lines.values()]), backend)]


def pause(place: str, rounds: int, backend: str) -> list[int]:
    line = Line()
    owner = forked(partial(own, place, rounds, line), backend)
    return [owner, forked(partial(supersede, place, rounds, owner, line), backend)]


if __name__ == "__main__":
    structlog.configure(wrapper_class=structlog.make_filtering_bound_logger(logging.CRITICAL))
    place, what, count, backend = sys.argv[1:]
    contest = race if what == "race" else pause
    children = set(contest(place, int(count), backend))
    while children:
        child, status = os.wait()
        children.discard(child)
        if status:
            # The others may wait for it for ever.
            for other in children:
                os.kill(other, signal.SIGKILL)
            sys.exit(FAILED)
