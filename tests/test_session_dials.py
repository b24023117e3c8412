"""Many sessions on one route: when each of them may open a connection."""

from __future__ import annotations

import math
from functools import partial

import anyio
import pytest

from realtime_async import RestartPolicy
from tests.controller.begun import begin, settled
from tests.test_session import Call
from tests.test_session_supervised import until_restarted

pytestmark = pytest.mark.virtual_time


async def test_sessions_that_are_dropped_at_once_dial_one_after_the_other() -> None:
    """Every dial is a moment of virtual time; the first connects are dials like any other."""
    calls = [Call() for _ in range(100)]
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
