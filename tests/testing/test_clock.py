"""Virtual time: the clock jumps when every task waits, and only then."""

from __future__ import annotations

import math
import threading
import time

import anyio
import anyio.from_thread
import anyio.lowlevel
import anyio.to_thread
import pytest

from realtime_async.testing.clock import BACKENDS, backend_options, run_virtual

# Passes only where nobody answers.
GRACE_S = 10.0


@pytest.mark.virtual_time
async def test_an_hour_of_sleep_takes_no_time() -> None:
    began, real = anyio.current_time(), time.monotonic()

    await anyio.sleep(3600)

    assert anyio.current_time() - began == pytest.approx(3600)
    assert time.monotonic() - real < 5


@pytest.mark.virtual_time
async def test_the_clock_stands_still_while_a_task_runs() -> None:
    began = anyio.current_time()

    for _ in range(100):
        await anyio.lowlevel.checkpoint()

    assert anyio.current_time() == began


@pytest.mark.virtual_time
async def test_deadlines_follow_the_clock() -> None:
    with pytest.raises(TimeoutError), anyio.fail_after(30):
        await anyio.sleep_forever()

    with anyio.move_on_after(10) as scope:
        await anyio.sleep(9.5)

    assert not scope.cancelled_caught


@pytest.mark.virtual_time
async def test_sleepers_wake_in_the_order_of_their_deadlines() -> None:
    woken = []

    async def sleep(seconds: float) -> None:
        await anyio.sleep(seconds)
        woken.append((seconds, anyio.current_time() - began))

    began = anyio.current_time()
    async with anyio.create_task_group() as tasks:
        for seconds in (3.0, 1.0, 2.0):
            tasks.start_soon(sleep, seconds)

    assert [asked for asked, _ in woken] == [1.0, 2.0, 3.0]
    assert [slept for _, slept in woken] == pytest.approx([1.0, 2.0, 3.0])


@pytest.mark.virtual_time
async def test_a_task_that_waits_for_ever_lets_the_others_go_on() -> None:
    async with anyio.create_task_group() as tasks:
        tasks.start_soon(anyio.sleep_forever)
        tasks.start_soon(anyio.sleep, math.inf)
        await anyio.sleep(60)
        tasks.cancel_scope.cancel()


@pytest.mark.parametrize("backend", BACKENDS)
def test_a_run_starts_at_zero_and_returns_what_its_function_returns(backend: str) -> None:
    async def sleep(seconds: float) -> float:
        await anyio.sleep(seconds)
        return anyio.current_time()

    assert run_virtual(sleep, 5.0, backend=backend) == pytest.approx(5)


@pytest.mark.parametrize("backend", BACKENDS)
def test_with_grace_a_thread_answers_before_the_clock_jumps(backend: str) -> None:
    answered = threading.Event()

    async def ask_a_thread() -> float:
        began = anyio.current_time()
        with anyio.fail_after(5):
            await anyio.to_thread.run_sync(answered.wait, 0.01)
        return anyio.current_time() - began

    assert run_virtual(ask_a_thread, backend=backend, grace_s=GRACE_S) == 0


@pytest.mark.parametrize("backend", BACKENDS)
def test_a_thread_wakes_a_loop_that_has_nothing_else_to_wait_for(backend: str) -> None:
    async def wait_for_a_thread() -> bool:
        event = anyio.Event()
        token = anyio.lowlevel.current_token()
        thread = threading.Thread(
            target=anyio.from_thread.run_sync, args=(event.set,), kwargs={"token": token}
        )
        thread.start()
        await event.wait()
        await anyio.to_thread.run_sync(thread.join)
        return event.is_set()

    assert run_virtual(wait_for_a_thread, backend=backend)


@pytest.mark.parametrize("backend", BACKENDS)
def test_with_grace_sockets_work(backend: str) -> None:
    async def echo(stream: anyio.abc.SocketStream) -> None:
        async with stream:
            await stream.send(await stream.receive())

    async def talk() -> bytes:
        async with await anyio.create_tcp_listener(local_host="127.0.0.1") as listener:
            port = listener.extra(anyio.abc.SocketAttribute.local_port)
            async with anyio.create_task_group() as tasks:
                tasks.start_soon(listener.serve, echo)
                async with await anyio.connect_tcp("127.0.0.1", port) as stream:
                    await stream.send(b"hello")
                    with anyio.fail_after(5):
                        answer = await stream.receive()
                tasks.cancel_scope.cancel()
        return answer

    assert run_virtual(talk, backend=backend, grace_s=GRACE_S) == b"hello"


@pytest.mark.parametrize("backend", BACKENDS)
def test_options_are_made_for_one_run_each(backend: str) -> None:
    async def sleep() -> None:
        await anyio.sleep(1)

    for _ in range(2):
        anyio.run(sleep, backend=backend, backend_options=backend_options(backend))
