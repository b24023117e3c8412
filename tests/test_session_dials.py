"""Many sessions on one route: when each of them may open a connection."""

from __future__ import annotations

import gc
import math
import subprocess
import sys
import threading
import time
from functools import partial

import anyio
import pytest

from realtime_async import RestartPolicy
from realtime_async._core.dials import DialSlots
from realtime_async._session import dialing
from realtime_async._session.dialing import Dialing
from realtime_async.testing.clock import BACKENDS, run_virtual
from tests.controller.begun import begin, settled
from tests.test_session import Call
from tests.test_session_supervised import until_restarted

pytestmark = pytest.mark.virtual_time

# Of sums, and between the clocks of two event loops, over seconds.
ROUNDING_S = 0.001


async def test_sessions_that_are_dropped_at_once_dial_one_after_the_other() -> None:
    """Every dial is a moment of virtual time; the first connects are dials like any other."""
    calls = [Call() for _ in range(1000)]
    dialled: list[float] = []

    async def talk(call: Call) -> None:
        async with call.open(restart_policy=RestartPolicy(dials_per_s=20)) as session:
            await anyio.sleep_until(100)
            call.adapter.drop()
            await until_restarted(session)
            dialled.append(anyio.current_time())

    async with anyio.create_task_group() as tasks:
        for call in calls:
            tasks.start_soon(talk, call)

    assert len(dialled) == len(calls), "nobody starves"
    assert max(dialled) == pytest.approx(100 + (len(calls) - 1) // 20, abs=0.1)
    for second in range(100, math.ceil(max(dialled))):
        assert sum(second <= moment < second + 1 for moment in dialled) <= 21


async def test_a_session_that_gives_up_its_turn_leaves_it_to_the_next() -> None:
    calls = [Call() for _ in range(3)]
    policy = RestartPolicy(dials_per_s=0.1)

    async def opened(call: Call) -> float:
        async with call.open(restart_policy=policy):
            return anyio.current_time()

    async with anyio.create_task_group() as tasks:
        opening = [await begin(tasks, partial(opened, call)) for call in calls[:2]]
        opening[1].scope.cancel()
        await settled()
        opening.append(await begin(tasks, partial(opened, calls[2])))

    assert opening[0].result == 0
    assert opening[2].result == pytest.approx(10)


def test_the_loops_of_all_threads_share_the_turns_of_a_route(
    backends: tuple[str, str], monkeypatch: pytest.MonkeyPatch
) -> None:
    """The clocks of the two begin elsewhere, and the process has one on which their dials are compared."""
    per_s, each = 4, 4
    turns: list[float] = []
    dialled: list[float] = []
    together = threading.Barrier(len(backends))
    take = dialing._in_real_time.take

    def noted(route: str, per_s: float) -> tuple[float, float]:
        moment, seconds = take(route, per_s)
        turns.append(moment)
        return moment, seconds

    monkeypatch.setattr(dialing._in_real_time, "take", noted)

    async def dial() -> None:
        together.wait(10)
        async with anyio.create_task_group() as tasks:
            for _ in range(each):
                tasks.start_soon(one)

    async def one() -> None:
        await Dialing(route, per_s).turn()
        dialled.append(time.monotonic())

    route = f"provider.shared.{'.'.join(backends)}"
    threads = [
        threading.Thread(target=anyio.run, args=(dial,), kwargs={"backend": name}) for name in backends
    ]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join(30)

    turns.sort()
    dialled.sort()
    assert len(turns) == len(dialled) == 2 * each, "nobody starves"
    assert all(later - earlier > 1 - ROUNDING_S for earlier, later in zip(turns, turns[per_s:], strict=False))
    # A loop that wakes late is the machine's affair; none may dial before its turn.
    assert all(turn <= moment + ROUNDING_S for turn, moment in zip(turns, dialled, strict=True))


@pytest.fixture(params=["asyncio asyncio", "asyncio trio", "trio trio"])
def backends(request: pytest.FixtureRequest) -> tuple[str, ...]:
    return tuple(request.param.split())


# A lock that is held by a thread which the fork does not bring along would never be let go: the alarm ends that child.
FORKED = """
import os, signal, sys, threading
import anyio
from realtime_async._session import dialing

async def dial():
    with anyio.fail_after(5):
        await dialing.Dialing("provider.forked", 0.001).turn()

def hold():
    with dialing._in_real_time._lock:
        is_held.set()
        may_end.wait()

anyio.run(dial, backend=sys.argv[1])
is_held, may_end = threading.Event(), threading.Event()
holding = threading.Thread(target=hold)
holding.start()
is_held.wait()
child = os.fork()
if child == 0:
    signal.alarm(20)
    anyio.run(dial, backend=sys.argv[1])
    os._exit(0)
status = os.waitpid(child, 0)[1]
may_end.set()
holding.join()
sys.exit(f"the child ended with {status}" if status else 0)
"""


@pytest.mark.parametrize("backend", BACKENDS)
def test_a_process_that_was_forked_while_somebody_dialled_dials_for_itself(backend: str) -> None:
    ended = subprocess.run(
        [sys.executable, "-W", "ignore", "-c", FORKED, backend], capture_output=True, text=True, check=False
    )

    assert (ended.returncode, ended.stderr) == (0, "")


def test_virtual_time_shares_no_turns_with_real_time() -> None:
    """In a second of a test may pass more than one of the world's."""
    virtual = Dialing("provider.virtual", 0.001)

    async def dial() -> float:
        await virtual.turn()
        await virtual.turn()
        return anyio.current_time()

    for backend in BACKENDS:
        assert run_virtual(dial, backend=backend) == pytest.approx(1000)


async def test_routes_that_nobody_dials_any_more_are_forgotten() -> None:
    for number in range(2000):
        await Dialing(f"provider.{number}", 10.0).turn()
        await anyio.sleep(1)

    assert sum(isinstance(thing, DialSlots) for thing in gc.get_objects()) <= 2 * 256
