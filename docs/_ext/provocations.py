"""
What an error is provoked with: a session on a script, and a list of all that was provoked.

A provocation's docstring says what the program did.
"""

from __future__ import annotations

from collections.abc import AsyncIterator, Awaitable, Callable, Sequence
from contextlib import asynccontextmanager, chdir
from tempfile import TemporaryDirectory
from typing import Any

import attrs

from realtime_async import (
    AgentError,
    RealtimeInputFrame,
    RealtimeSessionController,
    RealtimeSessionSidecar,
    RunJournal,
)
from realtime_async.adapters.scripted import (
    Fault,
    Script,
    ScriptedAdapter,
)
from realtime_async.journals import MemoryJournal
from realtime_async.testing import run_virtual

__all__ = [
    "FILE_S",
    "PROVOCATIONS",
    "Provocation",
    "connected",
    "desk",
    "met",
    "met_by",
    "provoke",
    "session",
    "text",
]

# A thread that writes a file is given that long before virtual time jumps.
FILE_S = 10.0


@attrs.frozen
class Provocation:
    """Something that a program does, and the error that it meets."""

    error: type[AgentError]
    do: Callable[[], Awaitable[None]]
    grace_s: float

    @property
    def name(self) -> str:
        return self.do.__name__

    @property
    def what_was_done(self) -> str:
        assert self.do.__doc__ is not None
        return self.do.__doc__.strip()


PROVOCATIONS: list[Provocation] = []

_Do = Callable[[], Awaitable[None]]


def met(error: type[AgentError], grace_s: float = 0.0) -> Callable[[_Do], _Do]:
    """Register a function that raises *error*."""

    def register(do: _Do) -> _Do:
        PROVOCATIONS.append(Provocation(error, do, grace_s))
        return do

    return register


def provoke(provocation: Provocation) -> AgentError:
    """Do what *provocation* does, in virtual time and an empty folder, and return what it raised."""
    with TemporaryDirectory() as empty, chdir(empty):
        try:
            run_virtual(provocation.do, grace_s=provocation.grace_s)
        except AgentError as error:
            return error
    raise AssertionError(f"{provocation.name} raised nothing")


def met_by(error: type[AgentError]) -> Sequence[Provocation]:
    return [each for each in PROVOCATIONS if each.error is error]


def desk(**fields: Any) -> RealtimeSessionSidecar:
    return RealtimeSessionSidecar.voice_defaults("front-desk", **fields)


def session(
    faults: dict[tuple[str, int], Fault] | None = None,
    *,
    sidecar: RealtimeSessionSidecar | None = None,
    adapter: ScriptedAdapter | None = None,
    journal: RunJournal | None = None,
    **options: Any,
) -> RealtimeSessionController:
    return RealtimeSessionController(
        desk() if sidecar is None else sidecar,
        ScriptedAdapter(Script(faults=faults or {})) if adapter is None else adapter,
        MemoryJournal() if journal is None else journal,
        run_id="call-42",
        **options,
    )


@asynccontextmanager
async def connected(*args: Any, **options: Any) -> AsyncIterator[RealtimeSessionController]:
    """The session, connected; it closes on the way out, whatever was met in between."""
    async with session(*args, **options) as controller:
        await controller.connect()
        yield controller


def text(frame_id: str = "frame.1") -> RealtimeInputFrame:
    return RealtimeInputFrame.text("A table for two.", frame_id=frame_id)
