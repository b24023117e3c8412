"""A worker and an exchange, each with a stranger at its other end: what goes wrong there costs no call."""

from __future__ import annotations

from collections.abc import AsyncIterator
from contextlib import AbstractAsyncContextManager, asynccontextmanager, suppress
from functools import partial
from types import ModuleType
from typing import Any

import anyio
import pytest
from anyio.abc import SocketStream
from anyio.streams.buffered import BufferedByteReceiveStream

from examples import call_exchange, worker
from examples.call_exchange import Caller, Exchange
from realtime_async import ProviderConnectionLost, RealtimeSession, open_session
from realtime_async.ports import RunId
from tests.examples.watching import nobody_reads, printed_as_ascii, until


class LostPhone(AbstractAsyncContextManager["LostPhone", None]):
    """A caller who is gone before anything was said."""

    is_closed = False

    async def send(self, _: bytes) -> None:
        raise anyio.BrokenResourceError

    async def __aexit__(self, *_: object) -> None:
        self.is_closed = True


class Ledger:
    """A journal, as far as a worker asks it without a session."""

    def __init__(self) -> None:
        self.released: list[str] = []

    async def release(self, run_id: str) -> None:
        self.released.append(RunId(run_id))


async def test_a_caller_who_is_gone_before_the_call_begins_costs_the_worker_no_other_call(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    phone, ledger = LostPhone(), Ledger()

    async def connected(*_: object) -> LostPhone:
        return phone

    monkeypatch.setattr(anyio, "connect_tcp", connected)
    journal: Any = ledger
    one = worker.Worker(NotImplemented, journal, "127.0.0.1", 7000, drain_s=1.0, look_every_s=1.0)

    await one.talk("call-1", open_session)

    assert phone.is_closed
    assert ledger.released == ["call-1"]


async def test_an_exchange_that_takes_no_connection_is_waited_for_no_longer_than_the_deadline(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    ledger = Ledger()

    async def lost(*_: object) -> LostPhone:
        await anyio.sleep_forever()
        raise AssertionError

    monkeypatch.setattr(anyio, "connect_tcp", lost)
    monkeypatch.setattr(worker, "REACH_S", 0.05)
    journal: Any = ledger
    one = worker.Worker(NotImplemented, journal, "127.0.0.1", 7000, drain_s=1.0, look_every_s=1.0)

    with anyio.fail_after(10):
        await one.talk("call-1", open_session)

    told = "call-1: the exchange at 127.0.0.1:7000 takes no connection within 0.05 s\n"
    assert capsys.readouterr().out == told
    assert ledger.released == ["call-1"]


async def test_a_caller_from_whom_nothing_comes_is_hung_up_on(monkeypatch: pytest.MonkeyPatch) -> None:
    ended: list[str] = []

    class Session:
        async def close(self) -> None:
            ended.append("closed")

    class Silent:
        async def receive(self, _max_bytes: int = 65536) -> bytes:
            await anyio.sleep_forever()
            raise AssertionError

    monkeypatch.setattr(worker, "UNHEARD_S", 0.05)
    session: Any = Session()
    phone: Any = Silent()
    with anyio.fail_after(10), anyio.CancelScope() as conversation:
        await worker.Conversation(session, phone, NotImplemented).listen(conversation)

    assert ended == ["closed"]
    assert conversation.cancel_called


async def test_the_calls_go_on_when_nobody_reads_what_is_printed(monkeypatch: pytest.MonkeyPatch) -> None:
    ledger = Ledger()

    async def connected(*_: object) -> LostPhone:
        return LostPhone()

    monkeypatch.setattr(anyio, "connect_tcp", connected)
    journal: Any = ledger
    one = worker.Worker(NotImplemented, journal, "127.0.0.1", 7000, drain_s=1.0, look_every_s=1.0)

    with nobody_reads(monkeypatch):
        await one.talk("call-1", open_session)
        await one.talk("call-2", open_session)

    assert ledger.released == ["call-1", "call-2"]


async def test_what_an_exchange_says_amiss_costs_the_worker_no_call(monkeypatch: pytest.MonkeyPatch) -> None:
    said = iter([b"\xff\nno id\n", b"too long" * 100, b"call-1\ncall-1\ncall-2\n"])
    begun: list[str] = []
    may_end, ledger = anyio.Event(), Ledger()

    async def exchange(stream: SocketStream) -> None:
        async with stream:
            if await stream.receive() == b"take\n":
                what = next(said)
                await stream.send(what)
                if b"call" not in what:
                    return
            await anyio.sleep_forever()

    @asynccontextmanager
    async def door(*_: object, run_id: str, **_options: object) -> AsyncIterator[RealtimeSession]:
        begun.append(RunId(run_id))
        await may_end.wait()
        raise ProviderConnectionLost("the call is over")
        yield

    monkeypatch.setattr(worker, "AGAIN_S", 0.01)
    monkeypatch.setattr(worker, "open_session", door)
    journal: Any = ledger
    async with (
        await anyio.create_tcp_listener(local_host="127.0.0.1") as listener,
        anyio.create_task_group() as tasks,
    ):
        tasks.start_soon(listener.serve, exchange)
        port = listener.extra(anyio.abc.SocketAttribute.local_port)
        one = worker.Worker(NotImplemented, journal, "127.0.0.1", port, drain_s=1.0, look_every_s=1.0)
        with anyio.fail_after(20):
            tasks.start_soon(one.take_calls, tasks)
            await until(lambda: len(begun) == 2)
            await anyio.wait_all_tasks_blocked()
            assert ledger.released == []
            may_end.set()
            await until(lambda: len(ledger.released) == 2)
        tasks.cancel_scope.cancel()

    assert sorted(begun) == sorted(ledger.released) == ["call-1", "call-2"]


@pytest.mark.parametrize("answers", [0, 3])
async def test_an_exchange_that_is_gone_without_a_word_is_dialled_again(
    answers: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    """As its machine may die, or the network: then the connection stays open at this end."""
    dialled: list[list[bytes]] = []

    async def exchange(stream: SocketStream) -> None:
        asked: list[bytes] = []
        dialled.append(asked)
        async with stream:
            lines = BufferedByteReceiveStream(stream)
            with suppress(anyio.IncompleteRead, anyio.BrokenResourceError):
                while True:
                    asked.append(await lines.receive_until(b"\n", 400))
                    if 1 < len(asked) <= 1 + answers:
                        await stream.send(b"\n")

    monkeypatch.setattr(worker, "ALIVE_S", 0.5)
    monkeypatch.setattr(worker, "AGAIN_S", 0.01)
    async with (
        await anyio.create_tcp_listener(local_host="127.0.0.1") as listener,
        anyio.create_task_group() as tasks,
    ):
        tasks.start_soon(listener.serve, exchange)
        port = listener.extra(anyio.abc.SocketAttribute.local_port)
        one = worker.Worker(NotImplemented, NotImplemented, "127.0.0.1", port, drain_s=1.0, look_every_s=1.0)
        with anyio.fail_after(20):
            tasks.start_soon(one.take_calls, tasks)
            await until(lambda: len(dialled) > 1)
        tasks.cancel_scope.cancel()

    assert dialled[0] == [b"take"] * (2 + answers)
    assert not one.here


async def test_a_call_that_was_lost_and_taken_up_again_here_is_given_up_once() -> None:
    ends = {name: anyio.Event() for name in ("lost", "taken up")}
    ledger = Ledger()

    class Waiting(worker.Worker):
        @asynccontextmanager
        async def joined(self, _run_id: str) -> AsyncIterator[Any]:
            yield None

    def door_of(name: str) -> Any:
        @asynccontextmanager
        async def door(*_: object, **_options: object) -> AsyncIterator[RealtimeSession]:
            await ends[name].wait()
            raise ProviderConnectionLost("the call is over")
            yield

        return door

    journal: Any = ledger
    one = Waiting(NotImplemented, journal, "127.0.0.1", 7000, drain_s=1.0, look_every_s=1.0)
    async with anyio.create_task_group() as tasks:
        for name in ends:
            tasks.start_soon(one.talk, "call-1", door_of(name))
            await anyio.wait_all_tasks_blocked()
        for released, end in enumerate(ends.values()):
            assert ledger.released == []
            end.set()
            await anyio.wait_all_tasks_blocked()
            assert len(ledger.released) == released

    assert not one.here


async def test_an_exchange_whose_port_is_taken_holds_nothing_open() -> None:
    exchange = Exchange([Caller("call-1", [])])
    async with await anyio.create_tcp_listener(local_host="127.0.0.1") as other:
        port = other.extra(anyio.abc.SocketAttribute.local_port)
        with pytest.raises(OSError):
            await exchange.run(port=port)

    # Anyio complains of a channel that is collected open.
    with pytest.raises(anyio.ClosedResourceError):
        exchange._offered.send_nowait("call-1")


async def test_a_worker_that_asks_whether_the_exchange_is_there_is_answered_and_has_its_calls() -> None:
    exchange = Exchange([Caller("call-1", [])])
    ports: list[int] = []
    may_call = anyio.Event()
    with anyio.fail_after(20):
        async with anyio.create_task_group() as tasks:
            tasks.start_soon(partial(exchange.run, when_open=ports.append, until=may_call))
            await until(lambda: bool(ports))
            async with await anyio.connect_tcp("127.0.0.1", ports[0]) as taker:
                await taker.send(b"take\n")
                for _ in range(2):
                    await taker.send(b"take\n")
                    assert await taker.receive() == b"\n"
                assert exchange.takers == 1
                may_call.set()
                assert await taker.receive() == b"call-1\n"
            await until(lambda: not exchange.takers)
            tasks.cancel_scope.cancel()


async def test_a_call_whose_worker_is_gone_before_it_has_joined_is_another_workers(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """It would never be answered, as no journal knows of it, and the exchange would wait for ever."""
    monkeypatch.setattr(call_exchange, "AGAIN_S", 0.05)
    caller = Caller("call-1", [bytes(960)])
    exchange = Exchange([caller])
    ports: list[int] = []
    with anyio.fail_after(20):
        async with anyio.create_task_group() as tasks:
            tasks.start_soon(partial(exchange.run, when_open=ports.append))
            await until(lambda: bool(ports))
            for _ in range(2):
                async with await anyio.connect_tcp("127.0.0.1", ports[0]) as taker:
                    await taker.send(b"take\n")
                    assert await taker.receive() == b"call-1\n"
            async with await anyio.connect_tcp("127.0.0.1", ports[0]) as phone:
                await phone.send(b"join call-1\n")
                assert await phone.receive() == bytes(960)

    assert caller.has_hung_up.is_set()


@pytest.mark.parametrize("said", [b"\xff\n", b"too long" * 100, b"join nobody\n", b"take"])
async def test_a_stranger_ends_no_exchange(said: bytes) -> None:
    exchange = Exchange([Caller("call-1", [bytes(960)])])
    ports: list[int] = []
    with anyio.fail_after(20):
        async with anyio.create_task_group() as tasks:
            tasks.start_soon(partial(exchange.run, when_open=ports.append))
            await until(lambda: bool(ports))
            async with await anyio.connect_tcp("127.0.0.1", ports[0]) as stranger:
                await stranger.send(said)
                await stranger.send_eof()
                with pytest.raises((anyio.EndOfStream, anyio.BrokenResourceError)):
                    await stranger.receive()
            async with await anyio.connect_tcp("127.0.0.1", ports[0]) as phone:
                await phone.send(b"join call-1\n")
                assert await phone.receive() == bytes(960)


@pytest.mark.parametrize("address", ["nowhere", "127.0.0.1:", ":7000", "127.0.0.1:99999", "127.0.0.1:x"])
def test_an_address_that_is_none_is_refused(address: str, capsys: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(SystemExit) as ended:
        worker.parsed(["--journal", "postgresql://127.0.0.1/calls", "--exchange", address])

    assert ended.value.code == 2
    assert f"{address} is no HOST:PORT" in capsys.readouterr().err


@pytest.mark.parametrize("program", [worker, call_exchange])
def test_ctrl_c_before_there_are_calls_ends_with_a_line(
    program: ModuleType, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    def interrupted(*_: object, **_options: object) -> None:
        raise KeyboardInterrupt

    monkeypatch.setattr(anyio, "run", interrupted)
    monkeypatch.setenv("OPENAI_API_KEY", "sk-none")

    program.run(["--journal", "postgresql://127.0.0.1/calls"] if program is worker else [])

    assert len(capsys.readouterr().out.splitlines()) == 1


def test_a_name_that_the_output_has_no_letters_for_ends_no_call(monkeypatch: pytest.MonkeyPatch) -> None:
    def run(_: object) -> None:
        worker.run(["--journal", "postgresql://127.0.0.1/calls"])

    assert printed_as_ascii(monkeypatch, run) == b"said:  Caf\\xe9\n"
