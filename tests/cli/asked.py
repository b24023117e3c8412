"""A journal with runs in it, and the command that is asked about them."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import anyio
import orjson
from typer.testing import CliRunner, Result

from realtime_async import RealtimeSessionController
from realtime_async.adapters.scripted import Drop, FrameFate, Script, ScriptedAdapter
from realtime_async.cli._app import app
from realtime_async.errors import ProviderConnectionLost
from realtime_async.journals import SqliteJournal
from realtime_async.ports import (
    RealtimeOutputFrame,
    RealtimeRestartReason,
    ResponseDone,
    ResponseUsage,
    RunJournal,
    StreamCursor,
)
from tests.controller.staged import audio, plain_sidecar, text

__all__ = ["ROOT", "RUN", "ask", "ask_json", "made"]

ROOT = Path(__file__).parents[2]
RUN = "call-1"


def ask(*arguments: str, **variables: str | None) -> Result:
    environment = {"REALTIME_ASYNC_JOURNAL": None, "NO_COLOR": None, **variables}
    return CliRunner().invoke(app, list(arguments), env=environment, prog_name="realtime-async")


def ask_json(*arguments: str) -> list[Any]:
    asked = ask(*arguments, "--json")
    if asked.exception is not None and not isinstance(asked.exception, SystemExit):
        raise asked.exception
    assert asked.stderr == ""
    return [orjson.loads(line) for line in asked.stdout.splitlines()]


async def _call(journal: RunJournal, run_id: str, *tags: str) -> None:
    """A call that loses its connection with a frame in doubt, and gates two."""
    adapter = ScriptedAdapter(Script(kept_through=[StreamCursor.chunk(1)]))
    controller = RealtimeSessionController(plain_sidecar(), adapter, journal, run_id=run_id, tags=tags)
    await controller.connect()
    await controller.send(audio())
    await controller.send(audio())
    adapter.inject("send", Drop(FrameFate.VANISHED))
    try:
        await controller.send(audio())
    except ProviderConnectionLost:
        await controller.send(text())
    await controller.send(audio())
    await controller.restart(RealtimeRestartReason.CONNECTION_LOST)
    for usage in (ResponseUsage(12, 340, 100, None, 90), ResponseUsage(1, 60, 0, None, 10), None):
        adapter.feed(RealtimeOutputFrame.of(ResponseDone("completed", usage)))
        await controller.receive()
    await controller.close()


def made(path: Path) -> str:
    """Make a journal with two runs at *path*; returns its URL."""

    async def write() -> None:
        async with SqliteJournal.open(path) as journal:
            await _call(journal, RUN, "tenant:acme")
            await _call(journal, "call-2", "tenant:zebra")

    anyio.run(write)
    return f"sqlite:{path}"
