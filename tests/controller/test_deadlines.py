"""No operation but receive waits for ever: what happens when its time is up."""

from __future__ import annotations

from functools import partial

import anyio
import pytest

from realtime_async.adapters.scripted import Afterwards, Delay, Hang, Script, ScriptedAdapter
from realtime_async.controller import Deadlines
from realtime_async.errors import ContractViolation, DeadlineExceeded
from tests.controller.begun import begin
from tests.controller.staged import Stage, plain_sidecar, text

pytestmark = pytest.mark.virtual_time


def hanging(operation: str) -> ScriptedAdapter:
    return ScriptedAdapter(Script(faults={(operation, 1): Hang()}))


def test_the_defaults_are_those_of_the_contract() -> None:
    deadlines = Deadlines()

    assert (deadlines.connect, deadlines.send, deadlines.interrupt, deadlines.restart) == (15, 10, 5, 15)
    assert (deadlines.close, deadlines.gate, deadlines.journal) == (5, 30, 10)


@pytest.mark.parametrize(
    "seconds",
    [0, -1, float("nan"), float("inf"), "10", None, True, 10**400, 10**5000],
    ids=lambda it: f"{it!s:.9}" if not isinstance(it, int) or it < 10**9 else f"{it.bit_length()} bits",
)
def test_a_deadline_that_nothing_can_keep_is_refused(seconds: float) -> None:
    with pytest.raises(ContractViolation, match="connect"):
        Deadlines(connect=seconds)


async def test_a_connect_out_of_time_fails_and_may_be_tried_again(stage: Stage) -> None:
    staged = stage.session(hanging("connect"))
    began = anyio.current_time()

    with pytest.raises(DeadlineExceeded):
        await staged.controller.connect()

    assert anyio.current_time() - began == pytest.approx(15)
    assert await staged.kinds() == ["connect_requested", "connect_failed"]
    assert (await staged.controller.connect()).kind == "connected"


async def test_a_send_out_of_time_in_its_call_is_in_doubt(stage: Stage) -> None:
    staged = await stage.connected(hanging("send"))
    began = anyio.current_time()

    with pytest.raises(DeadlineExceeded) as late:
        await staged.controller.send(text())

    assert anyio.current_time() - began == pytest.approx(10)
    assert late.value.retry == "unknown_outcome"
    failed = (await staged.records())[-1].payload
    assert failed.error is not None
    assert (failed.kind, failed.error.retry) == ("input_send_failed", "unknown_outcome")
    assert staged.controller.delivery.in_doubt == 1
    assert (await staged.controller.send(text())).send_cursor.chunk_sequence == 2


async def test_the_deadline_of_a_send_counts_from_its_call(stage: Stage) -> None:
    """The second waits 6 s for its turn, so 4 s are left for its own call."""
    staged = await stage.connected(
        ScriptedAdapter(Script(faults={("send", 1): Delay(6), ("send", 2): Hang()}))
    )
    async with anyio.create_task_group() as tasks:
        first = await begin(tasks, partial(staged.controller.send, text()))
        began = anyio.current_time()
        second = await begin(tasks, partial(staged.controller.send, text()))
        await anyio.sleep(12)

    assert first.error is None
    assert isinstance(second.error, DeadlineExceeded)
    assert second.ended_at - began == pytest.approx(10, abs=0.3)
    assert staged.controller.delivery.in_doubt == 1


async def test_a_send_whose_time_is_up_before_its_turn_accepted_nothing(stage: Stage) -> None:
    slow = {("send", number): Delay(6) for number in (1, 2)}
    staged = await stage.connected(ScriptedAdapter(Script(faults=slow)))
    async with anyio.create_task_group() as tasks:
        for _ in range(2):
            await begin(tasks, partial(staged.controller.send, text()))
        late = await begin(tasks, partial(staged.controller.send, text()))
        await anyio.sleep(15)

    assert isinstance(late.error, DeadlineExceeded)
    delivery = staged.controller.delivery
    # The second had its turn, but 4 s were not enough for its call.
    assert (delivery.refused, delivery.accepted, delivery.sent, delivery.in_doubt) == (1, 2, 1, 1)
    assert len(staged.provider.sent) == 1


async def test_a_close_out_of_time_fails_and_the_session_has_ended(stage: Stage) -> None:
    staged = await stage.connected(hanging("close"))
    began = anyio.current_time()

    with pytest.raises(DeadlineExceeded):
        await staged.controller.close()

    assert anyio.current_time() - began == pytest.approx(5)
    assert (await staged.kinds())[-1] == "close_failed"
    assert staged.controller.state.lifecycle_status == "failed"


@pytest.mark.parametrize("operation", ["connect", "send", "interrupt", "restart", "close"])
async def test_a_call_that_ends_in_time_is_let_be(stage: Stage, operation: str) -> None:
    staged = stage.session(ScriptedAdapter(Script(faults={(operation, 1): Afterwards(Delay(2))})))
    await staged.controller.connect()
    await staged.controller.send(text())
    await staged.controller.interrupt()
    await staged.controller.restart()

    record = await staged.controller.close()

    assert record.kind == "closed"
    assert [kind for kind in await staged.kinds() if kind.endswith("_failed")] == []


async def test_a_call_may_take_as_long_as_its_deadline_allows(stage: Stage) -> None:
    staged = await stage.connected(
        ScriptedAdapter(Script(faults={("send", 1): Delay(3600)})), deadlines=Deadlines(send=1e9)
    )

    assert (await staged.controller.send(text())).kind == "input_sent"


async def test_every_frame_of_a_drain_has_the_time_of_a_send(stage: Stage) -> None:
    slow = {("send", number): Delay(6) for number in range(1, 5)}
    staged = await stage.connected(ScriptedAdapter(Script(faults=slow)), sidecar=plain_sidecar())
    await staged.controller.begin_restart()
    for _ in range(4):
        await staged.controller.send(text())

    await staged.controller.complete_restart()

    assert staged.controller.delivery.sent == 4
