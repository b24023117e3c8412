"""
A program whose tool kills it.

    python -m tests.dying_in_a_tool JOURNAL
"""

from __future__ import annotations

import os
import signal
import sys

import anyio

from realtime_async import open_session
from realtime_async.adapters.scripted import ScriptedAdapter
from realtime_async.journals import SqliteJournal
from realtime_async.ports import ToolCall
from tests.controller.staged import plain_sidecar

__all__: list[str] = []


async def book_table(people: int) -> str:
    os.write(1, b"booked\n")
    os.kill(os.getpid(), signal.SIGKILL)
    return "never"


async def main(path: str) -> None:
    async with (
        SqliteJournal.open(path) as journal,
        open_session(plain_sidecar(), ScriptedAdapter(), journal, run_id="run-1") as session,
    ):
        await session.answer(ToolCall("call.1", "book_table", '{"people": 2}'), book_table)
        await anyio.sleep_forever()


if __name__ == "__main__":
    anyio.run(main, sys.argv[1])
