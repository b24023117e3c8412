"""What ends the call of a telephone that is gone without a word, and what ends no call."""

from __future__ import annotations

import json
import resource
import socket
from collections.abc import AsyncIterator, Iterator
from contextlib import asynccontextmanager, contextmanager
from pathlib import Path

import anyio
import anyio.to_thread
import pytest
from anyio.abc import ByteStream
from websockets.client import ClientProtocol
from websockets.protocol import State
from websockets.server import ServerProtocol
from websockets.uri import parse_uri

from examples import phone_bot
from tests.examples.telephoning import LOUD, QUIET, SCRIPT, last_record, telephone
from tests.examples.watching import found, nobody_reads


@asynccontextmanager
async def dead_telephone(port: int) -> AsyncIterator[None]:
    """One that dials, and then neither reads nor says a word; its connection stays open."""
    protocol = ClientProtocol(parse_uri(f"ws://127.0.0.1:{port}/"))
    protocol.send_request(protocol.connect())
    async with await anyio.connect_tcp("127.0.0.1", port) as stream:

        async def flush() -> None:
            for data in protocol.data_to_send():
                await stream.send(data)

        await flush()
        while protocol.state is not State.OPEN:
            protocol.receive_data(await stream.receive())
        protocol.send_text(json.dumps({"event": "start", "start": {"streamSid": "MZ2"}}).encode())
        await flush()
        yield


async def test_a_telephone_that_is_gone_without_a_word_is_hung_up_on(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    ended = anyio.Event()
    lines: list[str] = []

    def printed(line: object, **_options: object) -> None:
        lines.append(str(line))
        if lines[-1].startswith("run "):
            ended.set()

    monkeypatch.setattr(phone_bot, "print", printed, raising=False)
    monkeypatch.setattr(phone_bot, "ALIVE_S", 1.0)
    async with telephone(SCRIPT, tmp_path) as (phone, _):
        await phone.listen_for(4800)
        async with dead_telephone(phone.connection.remote_address[1]):
            await ended.wait()
        # The other one lives.
        await phone.speak(*LOUD, *QUIET)
        await phone.listen_for(9600)

    assert await last_record(tmp_path, found(r"^run (\S+): ", "\n".join(lines))) == "realtime_closed"


class Clogged(ByteStream):
    """A stream that takes the answer to a handshake, and then nothing more; nobody is at its other end."""

    def __init__(self) -> None:
        self._takes = 1
        protocol = ClientProtocol(parse_uri("ws://127.0.0.1/"))
        protocol.send_request(protocol.connect())
        self._said = protocol.data_to_send()

    async def receive(self, max_bytes: int = 65536) -> bytes:
        if self._said:
            return self._said.pop(0)
        await anyio.sleep_forever()
        raise AssertionError

    async def send(self, item: bytes) -> None:
        if not self._takes:
            await anyio.sleep_forever()
        self._takes -= 1

    async def send_eof(self) -> None: ...

    async def aclose(self) -> None: ...


async def test_a_telephone_that_takes_nothing_either_is_hung_up_on(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(phone_bot, "ALIVE_S", 0.05)
    line = phone_bot.Line(Clogged())
    await line.accept()

    with anyio.fail_after(10):
        async with anyio.create_task_group() as tasks:
            tasks.start_soon(line.send, {"event": "clear"})
            await anyio.wait_all_tasks_blocked()
            with pytest.raises(phone_bot.HungUp):
                await line.receive()
            tasks.cancel_scope.cancel()


async def test_a_telephone_that_says_nothing_and_is_there_is_kept(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    asked = 0
    often = anyio.Event()
    ping = ServerProtocol.send_ping

    def counted(protocol: ServerProtocol, data: bytes) -> None:
        nonlocal asked
        asked += 1
        if asked == 3:
            often.set()
        ping(protocol, data)

    monkeypatch.setattr(ServerProtocol, "send_ping", counted)
    monkeypatch.setattr(phone_bot, "ALIVE_S", 1.0)
    async with telephone(SCRIPT, tmp_path) as (phone, _):
        await phone.listen_for(4800)
        await often.wait()
        await phone.speak(*LOUD, *QUIET)
        await phone.listen_for(9600)


async def test_the_calls_go_on_when_nobody_reads_what_is_printed(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    with nobody_reads(monkeypatch):
        async with telephone(SCRIPT, tmp_path) as (phone, server):
            await phone.listen_for(4800)
            await phone.speak(*LOUD, *QUIET)
            await phone.listen_for(9600)

    assert server.connections == 1


async def test_a_call_for_which_there_is_no_file_left_costs_no_other(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(phone_bot, "AGAIN_S", 0.01)
    async with telephone(SCRIPT, tmp_path) as (phone, _):
        await phone.listen_for(4800)
        with socket.socket() as other:
            with no_more_files():
                other.connect(phone.connection.remote_address[:2])
                await phone.ping()
            await phone.speak(*LOUD, *QUIET)
            await phone.listen_for(9600)
            # And then it is taken, too: somebody hangs up on what it says.
            other.sendall(b"no WebSocket\r\n\r\n")
            assert await anyio.to_thread.run_sync(other.recv, 100) == b""


@contextmanager
def no_more_files() -> Iterator[None]:
    soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    resource.setrlimit(resource.RLIMIT_NOFILE, (3, hard))
    try:
        yield
    finally:
        resource.setrlimit(resource.RLIMIT_NOFILE, (soft, hard))
