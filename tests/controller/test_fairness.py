"""Whoever sends or receives without a pause lets the others run, and the more often the more each call takes."""

from __future__ import annotations

import time
from collections.abc import Awaitable, Callable
from functools import partial
from pathlib import Path

import anyio
import anyio.lowlevel
import pytest

from realtime_async import MediaSpan, RealtimeSessionController
from realtime_async._core.stint import CALLS_AT_MOST, SECONDS_AT_MOST
from realtime_async.adapters.scripted import NowaitScriptedAdapter, Script
from realtime_async.journals import SqliteJournal
from realtime_async.ports import RealtimeOutputFrame
from tests.controller.staged import FRAME, Stage, StagedSession, audio, plain_sidecar

CALLS = CALLS_AT_MOST - 1
# As for a call on a machine that has much to do.
WORK_S = SECONDS_AT_MOST / 4


def work() -> None:
    """Keep the event loop busy for a moment."""
    until = time.perf_counter() + WORK_S
    while time.perf_counter() < until:
        pass


async def send_all(staged: StagedSession) -> None:
    for _ in range(CALLS):
        work()
        await staged.controller.send(audio())


async def receive_all(staged: StagedSession) -> None:
    for _ in range(CALLS):
        work()
        await staged.controller.receive()


async def turns_during(doing: Callable[[], Awaitable[None]]) -> int:
    """How often another task had its turn meanwhile."""
    turns = 0

    async def somebody_else() -> None:
        nonlocal turns
        while True:
            await anyio.lowlevel.checkpoint()
            turns += 1

    async with anyio.create_task_group() as tasks:
        tasks.start_soon(somebody_else)
        await doing()
        tasks.cancel_scope.cancel()
    return turns


WAYS: dict[str, tuple[Callable[[StagedSession], Awaitable[None]], bool]] = {
    "sent": (send_all, False),
    "gated": (send_all, True),
    "received": (receive_all, False),
}


@pytest.mark.parametrize("do_all, is_gated", WAYS.values(), ids=WAYS)
async def test_calls_that_take_long_let_the_others_run_before_they_are_many(
    stage: Stage, do_all: Callable[[StagedSession], Awaitable[None]], is_gated: bool
) -> None:
    script = Script([RealtimeOutputFrame.audio(FRAME) for _ in range(1 + CALLS)])
    staged = await stage.connected(
        NowaitScriptedAdapter(script), sidecar=plain_sidecar(span=MediaSpan(1000, 60.0), queue_capacity=CALLS)
    )
    # The spans are open, so that no call waits for the journal.
    await staged.controller.send(audio())
    await staged.controller.receive()
    if is_gated:
        await staged.controller.begin_restart()

    assert await turns_during(partial(do_all, staged)) >= 5


async def test_the_others_run_once_in_fifty_calls_though_the_adapter_s_send_never_waits(stage: Stage) -> None:
    staged = await stage.connected(sidecar=plain_sidecar(span=MediaSpan(1000, 60.0)))
    await staged.controller.send(audio())

    async def send_many() -> None:
        for _ in range(10 * CALLS_AT_MOST):
            await staged.controller.send(audio())

    # In one of them the others begin, and in the last they may come second.
    assert await turns_during(send_many) >= 8


async def test_a_frame_that_waits_for_its_own_record_waits_for_nothing_else(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Else the result of one frame and the intent of the next would be two commits."""
    yields = 0
    checkpoint = anyio.lowlevel.checkpoint

    async def counted() -> None:
        nonlocal yields
        yields += 1
        await checkpoint()

    async with SqliteJournal.open(tmp_path / "calls.db") as journal:
        controller = RealtimeSessionController(
            plain_sidecar(), NowaitScriptedAdapter(), journal, run_id="call-1"
        )
        await controller.connect()
        monkeypatch.setattr(anyio.lowlevel, "checkpoint", counted)
        for _ in range(CALLS):
            await controller.send(audio())
        monkeypatch.undo()
        await controller.close()

    assert yields == 0
