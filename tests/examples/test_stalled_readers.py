"""
What a bot prints may be read by somebody who has stopped reading, as a pager does: its calls go on.

The bots are processes of their own here, as one that waits for its reader does nothing else.
"""

from __future__ import annotations

import os
import re
import signal
import socket
import sys
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from functools import partial
from io import BufferedReader
from pathlib import Path
from types import ModuleType

import anyio
import anyio.to_thread
import pytest
from anyio.abc import Process, SocketAttribute, SocketStream
from websockets.sync.client import connect

from examples import phone_bot, worker
from realtime_async.testing.loopback import DropHow
from realtime_async.testing.loopback.openai import LoopbackOpenAI
from tests.examples.telephoning import LOUD, QUIET, SCRIPT, Telephone
from tests.examples.watching import full_pipe
from tests.postgres_server import Database

on_asyncio = pytest.mark.parametrize("anyio_backend", ["asyncio"], indirect=True)
on_either = pytest.mark.parametrize("backend", ["asyncio", "trio"])


@asynccontextmanager
async def unread(*command: str, key: str) -> AsyncIterator[tuple[Process, BufferedReader]]:
    """A program whose standard output is full; and who could read it."""
    with full_pipe() as (reader, writing), anyio.fail_after(60):
        program = await anyio.open_process(
            [sys.executable, *command], env={**os.environ, "OPENAI_API_KEY": key}, stdout=writing, stderr=None
        )
        async with program:
            try:
                yield program, reader
            except BaseException:
                program.kill()
                raise


def read_on(reader: BufferedReader) -> str:
    """What there is to be read by now, without what was there before the program began."""
    return os.read(reader.fileno(), 1 << 20).decode().lstrip("-")


@asynccontextmanager
async def dialled(port: int) -> AsyncIterator[Telephone]:
    """Dial the bot once it listens, which it cannot tell."""
    dial = partial(connect, f"ws://127.0.0.1:{port}/", compression=None, proxy=None)
    connection = None
    while connection is None:
        try:
            connection = await anyio.to_thread.run_sync(dial)
        except ConnectionRefusedError:
            await anyio.sleep(0.05)
    with connection.__enter__() as opened:
        yield Telephone(opened)


def free_port() -> int:
    with socket.create_server(("127.0.0.1", 0)) as server:
        return int(server.getsockname()[1])


@on_asyncio
@on_either
async def test_a_caller_is_heard_and_answered_by_a_bot_whose_reader_has_stopped(
    backend: str, tmp_path: Path
) -> None:
    port, journal = free_port(), str(tmp_path / "calls.db")
    async with LoopbackOpenAI(SCRIPT) as server:
        options = ("--base-url", server.url, "--port", str(port), "--journal", journal, "--backend", backend)
        async with unread("examples/phone_bot.py", *options, key=server.key) as (bot, reader):
            async with dialled(port) as phone:
                await phone.dial()
                await phone.listen_for(4800)
                # The session logs that.
                server.drop(DropHow.RESET)
                await phone.speak(*LOUD, *QUIET)
                await phone.listen_for(9600)
                assert read_on(reader) == ""
                await phone.say(event="stop", streamSid="MZ1", stop={"callSid": "CA1"})
                await phone.listen_to_the_end()
            bot.send_signal(signal.SIGTERM)
            assert await bot.wait() == 0
            told = read_on(reader)

    # Whoever reads on has missed nothing.
    assert re.search(r"\[warning *\] realtime_\w+_failed", told)
    assert told.startswith(f"listening on ws://127.0.0.1:{port}/\nsaid:  A table for two is booked.\n")
    assert "\nheard: Please book a table for two.\n" in told
    assert told.endswith("\nasked to stop: the calls end with this turn\n")


@on_asyncio
@on_either
async def test_a_worker_whose_reader_has_stopped_takes_calls_and_goes_when_told_to(
    backend: str, postgres_database: Database
) -> None:
    told = ""

    async def exchange(stream: SocketStream) -> None:
        nonlocal told
        async with stream:
            if await stream.receive() != b"take\n":
                return
            # It has to tell what comes of each.
            await stream.send(b"first one\nsecond one\n")
            assert read_on(reader) == ""
            await stream.send(b"last one\n")
            while told.count(" one: ") < 3:
                told += await anyio.to_thread.run_sync(read_on, reader)
            worker.send_signal(signal.SIGTERM)

    async with await anyio.create_tcp_listener(local_host="127.0.0.1") as listener:
        at = f"127.0.0.1:{listener.extra(SocketAttribute.local_port)}"
        options = ("--journal", postgres_database.dsn, "--exchange", at, "--backend", backend)
        async with (
            unread("examples/worker.py", *options, key="sk-none") as (worker, reader),
            anyio.create_task_group() as tasks,
        ):
            tasks.start_soon(listener.serve, exchange)
            assert await worker.wait() == 0
            tasks.cancel_scope.cancel()

    ready, *calls = [line.partition(":")[0] for line in told.splitlines()]
    assert ready == "ready"
    assert sorted(calls) == ["first one", "last one", "second one"]


@pytest.mark.parametrize("program", [phone_bot, worker])
def test_what_nobody_reads_for_long_is_left_out_and_that_is_told(
    program: ModuleType, monkeypatch: pytest.MonkeyPatch
) -> None:
    with full_pipe() as (reader, writing), open(writing, "w", encoding="utf-8", closefd=False) as full:
        monkeypatch.setattr(sys, "stdout", full)
        for number in range(10_000):
            program.tell(f"line {number}")
        kept = len(program.UNREAD)
        read_on(reader)
        program.tell("the last line")
        told = read_on(reader).splitlines()

    assert kept <= program.UNREAD_AT_MOST + 1
    assert told[0] == "(lines are missing here: nobody read them)"
    assert told[-2:] == ["line 9999", "the last line"]
    assert not program.UNREAD


@pytest.mark.parametrize("program", [phone_bot, worker])
def test_a_long_line_waits_for_nobody_and_is_told_whole(
    program: ModuleType, monkeypatch: pytest.MonkeyPatch
) -> None:
    line = "é" * 50_000
    with full_pipe() as (reader, writing), open(writing, "w", encoding="utf-8", closefd=False) as full:
        monkeypatch.setattr(sys, "stdout", full)
        read_on(reader)
        program.tell(line)
        told = b""
        while program.UNREAD:
            told += os.read(reader.fileno(), 1 << 20)
            program.tell("more")
        told += os.read(reader.fileno(), 1 << 20)

    assert told.decode().startswith(f"{line}\nmore\n")
