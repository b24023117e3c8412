"""
Every operation, cancelled at every await it has.

The journal suspends before and after each record is durable, the adapter before and after each
effect, so each of them is a point; how many there are is asserted, so that none goes missing unseen.
"""

from __future__ import annotations

from collections.abc import AsyncIterator, Awaitable, Callable, Coroutine
from contextlib import asynccontextmanager, suppress
from functools import partial
from typing import Any

import anyio
import attrs
import pytest
from anyio.lowlevel import checkpoint

from realtime_async import MediaSpan, RealtimeSessionController, RestartPolicy
from realtime_async.adapters.scripted import Drop, FrameFate, NowaitScriptedAdapter, Script, ScriptedAdapter
from realtime_async.errors import AgentError, SessionStateError
from realtime_async.journals import MemoryJournal
from realtime_async.ports import RealtimeOutputFrame, RealtimeRestartReason, StreamCursor
from realtime_async.testing.cancellation import (
    Cancellation,
    Ending,
    Outcome,
    cancel_at_every_point,
    ways_to_cancel,
)
from realtime_async.testing.journals import SuspendingJournal
from tests.controller.carrying_on import carry_on
from tests.controller.staged import FRAME, StagedSession, audio, plain_sidecar, text

pytestmark = pytest.mark.virtual_time

SPAN = MediaSpan(frames=2, seconds=60.0)

# What one record or one call of the adapter adds.
DURABLE = 2
CALL = 2


every_way = pytest.mark.parametrize(
    "anyio_backend, how",
    [(backend, way) for backend in ("asyncio", "trio") for way in ways_to_cancel(backend)],
    indirect=["anyio_backend"],
)


Step = Callable[[RealtimeSessionController], Awaitable[object]]


async def nothing(controller: RealtimeSessionController) -> None:
    """The session is as it was made."""


async def connect(controller: RealtimeSessionController) -> None:
    await controller.connect()


async def gate_two(controller: RealtimeSessionController) -> None:
    await controller.connect()
    await controller.send(text())
    await controller.begin_restart()
    await controller.send(text())
    await controller.send(audio())


async def lose(controller: RealtimeSessionController) -> None:
    await controller.connect()
    with suppress(AgentError):
        await controller.send(text())


async def fill_a_span(controller: RealtimeSessionController) -> None:
    await controller.connect()
    await controller.send(audio())
    await controller.send(audio())


async def open_both_spans(controller: RealtimeSessionController) -> None:
    await controller.connect()
    await controller.send(audio())
    await controller.receive()


def suspending(script: Script) -> ScriptedAdapter:
    return ScriptedAdapter(script, suspend=checkpoint)


@attrs.frozen
class Case:
    """An operation, the way to where it begins, and how often it waits."""

    operate: Step
    points: int
    prepare: Step = connect
    span: MediaSpan | None = None
    script: Script = attrs.field(factory=Script)
    provider: Callable[[Script], ScriptedAdapter] = suspending


FORGETFUL = Script(kept_through=[StreamCursor.chunk(0)])
LOSES_THE_FIRST = Script(faults={("send", 1): Drop(FrameFate.NOT_SENT)}, kept_through=[StreamCursor.chunk(0)])
SAYS_TWO = Script([RealtimeOutputFrame.audio(FRAME, frame_id=f"out.{n}") for n in (1, 2)])

CASES = {
    "connect": Case(connect, DURABLE + CALL + DURABLE, nothing),
    "send": Case(lambda c: c.send(text()), DURABLE + CALL),
    "send in a span": Case(lambda c: c.send(audio()), DURABLE + CALL, span=SPAN),
    "send in the next span": Case(lambda c: c.send(audio()), DURABLE + CALL, fill_a_span, SPAN),
    "send text after a span": Case(lambda c: c.send(text()), DURABLE + CALL, fill_a_span, SPAN),
    "send into the gate": Case(lambda c: c.send(text()), 0, gate_two),
    "send that is lost": Case(lambda c: c.send(text()), DURABLE + 1, script=LOSES_THE_FIRST),
    "receive": Case(lambda c: c.receive(), DURABLE + CALL, script=SAYS_TWO),
    "receive in a span": Case(lambda c: c.receive(), DURABLE + CALL, span=SPAN, script=SAYS_TWO),
    "send at once": Case(lambda c: c.send(text()), DURABLE, provider=NowaitScriptedAdapter),
    "send in a span at once": Case(
        lambda c: c.send(audio()), DURABLE, span=SPAN, provider=NowaitScriptedAdapter
    ),
    "receive at once": Case(lambda c: c.receive(), DURABLE, script=SAYS_TWO, provider=NowaitScriptedAdapter),
    "receive in a span at once": Case(
        lambda c: c.receive(), DURABLE, span=SPAN, script=SAYS_TWO, provider=NowaitScriptedAdapter
    ),
    "interrupt": Case(lambda c: c.interrupt(), DURABLE + CALL + DURABLE),
    "interrupt between spans": Case(
        lambda c: c.interrupt(), DURABLE + CALL + DURABLE, open_both_spans, SPAN, SAYS_TWO
    ),
    "interrupt without a connection": Case(lambda c: c.interrupt(), 0, lose, script=LOSES_THE_FIRST),
    "begin_restart": Case(lambda c: c.begin_restart(), DURABLE),
    "begin_restart between spans": Case(
        lambda c: c.begin_restart(), DURABLE, open_both_spans, SPAN, SAYS_TWO
    ),
    "begin_restart after a loss": Case(
        lambda c: c.begin_restart(RealtimeRestartReason.CONNECTION_LOST),
        DURABLE,
        lose,
        script=LOSES_THE_FIRST,
    ),
    "complete_restart": Case(
        lambda c: c.complete_restart(), CALL + 3 * (DURABLE + CALL) + DURABLE, gate_two, script=FORGETFUL
    ),
    "complete_restart with spans": Case(
        lambda c: c.complete_restart(), CALL + 3 * (DURABLE + CALL) + DURABLE, gate_two, SPAN, FORGETFUL
    ),
    "restart": Case(lambda c: c.restart(policy=RestartPolicy(first_wait_s=0.0)), DURABLE + CALL + DURABLE),
    "close": Case(lambda c: c.close(), DURABLE + CALL + DURABLE),
    "close between spans": Case(
        lambda c: c.close(), DURABLE + CALL + DURABLE, open_both_spans, SPAN, SAYS_TWO
    ),
    "close with a full gate": Case(lambda c: c.close(), DURABLE + CALL + DURABLE, gate_two),
    "hand over": Case(lambda c: c.hand_over(), DURABLE + CALL + DURABLE),
    "hand over between spans": Case(
        lambda c: c.hand_over(), DURABLE + CALL + DURABLE, open_both_spans, SPAN, SAYS_TWO
    ),
    "close before connecting": Case(lambda c: c.close(), DURABLE, nothing),
}


ENDS = {"closed", "close_failed", "handed_over", "hand_over_failed"}


@asynccontextmanager
async def prepared(case: Case) -> AsyncIterator[StagedSession]:
    staged = StagedSession(
        case.provider(case.script),
        sidecar=plain_sidecar(span=case.span),
        journal=SuspendingJournal(MemoryJournal()),
    )
    await case.prepare(staged.controller)
    yield staged
    with suppress(AgentError):
        await staged.controller.close()


async def operated(case: Case, staged: StagedSession) -> object:
    return await case.operate(staged.controller)


async def goes_on(staged: StagedSession, outcome: Outcome[object]) -> None:
    """A session that was not closed can do everything still."""
    if outcome.point is None:
        assert outcome.ending is Ending.RETURNED, outcome.error
    await carry_on(staged)


async def has_ended(staged: StagedSession, outcome: Outcome[object]) -> None:
    """A close that was cancelled is none the less the end."""
    await staged.check()
    with suppress(AgentError):
        await staged.controller.close()
    kinds = await staged.kinds()
    assert kinds[-1] in ENDS
    calls = list(staged.adapter.operations)
    with pytest.raises(AgentError):
        await staged.controller.send(text())
    assert staged.adapter.operations == calls
    assert await staged.kinds() == kinds
    await staged.check()


@every_way
@pytest.mark.parametrize("name", CASES)
async def test_whatever_is_cancelled_wherever_it_waits_does_no_harm(name: str, how: Cancellation) -> None:
    case = CASES[name]
    operate: Callable[[StagedSession], Coroutine[Any, Any, object]] = partial(operated, case)
    check = has_ended if name.startswith(("close", "hand")) else goes_on

    points = await cancel_at_every_point(lambda: prepared(case), operate, check, how=how)

    assert points == case.points


@every_way
async def test_a_connect_that_is_cancelled_can_be_made_again(how: Cancellation) -> None:
    """Whatever its provider has answered meanwhile: nobody else could know of that connection."""
    case = CASES["connect"]

    async def check(staged: StagedSession, outcome: Outcome[object]) -> None:
        controller = staged.controller
        if outcome.ending is Ending.RETURNED:
            with pytest.raises(SessionStateError):
                await controller.connect()
        else:
            assert how is not Cancellation.SCOPE or "connected" not in await staged.kinds()
            assert (await controller.connect()).kind == "connected"
        assert (await staged.kinds()).count("connected") == 1
        with pytest.raises(SessionStateError):
            await controller.connect()
        await staged.check()

    points = await cancel_at_every_point(lambda: prepared(case), partial(operated, case), check, how=how)

    assert points == case.points


@every_way
@pytest.mark.parametrize("span", [None, SPAN], ids=["alone", "spans"])
@pytest.mark.parametrize("kind", [ScriptedAdapter, NowaitScriptedAdapter], ids=["waiting", "nowait"])
async def test_a_receive_that_is_cancelled_loses_no_frame(
    kind: type[ScriptedAdapter], span: MediaSpan | None, how: Cancellation
) -> None:
    suspend = checkpoint if kind is ScriptedAdapter else None
    case = Case(lambda c: c.receive(), 0, span=span, script=SAYS_TWO, provider=partial(kind, suspend=suspend))

    async def check(staged: StagedSession, outcome: Outcome[object]) -> None:
        rest = [staged.controller.receive() for _ in range(1 if outcome.ending is Ending.RETURNED else 2)]
        received = [each.frame.frame_id for each in [await one for one in rest] if each is not None]
        assert received == ["out.1", "out.2"][-len(rest) :]
        await staged.check()

    await cancel_at_every_point(lambda: prepared(case), partial(operated, case), check, how=how)


@every_way
async def test_a_send_that_is_cancelled_tells_the_truth_about_its_frame(how: Cancellation) -> None:
    """What the provider has is sent or in doubt; what is said to have failed it has not."""
    case = Case(lambda c: c.send(text(7)), 0)

    async def check(staged: StagedSession, outcome: Outcome[object]) -> None:
        delivery, arrived = staged.controller.delivery, len(staged.provider.sent)
        assert delivery.sent <= arrived <= delivery.sent + delivery.in_doubt
        if outcome.ending is Ending.RETURNED:
            assert delivery.sent == 1
        await staged.check()

    await cancel_at_every_point(lambda: prepared(case), partial(operated, case), check, how=how)


@every_way
async def test_a_gated_frame_stays_accepted_though_its_drain_is_cancelled(how: Cancellation) -> None:
    case = Case(lambda c: c.complete_restart(), 0, gate_two)

    async def check(staged: StagedSession, outcome: Outcome[object]) -> None:
        delivery = staged.controller.delivery
        assert delivery.accepted == 3
        assert delivery.failed == 0

    await cancel_at_every_point(lambda: prepared(case), partial(operated, case), check, how=how)


async def test_a_frame_of_whoever_is_cancelled_already_meets_no_adapter(anyio_backend: object) -> None:
    """Its call would be in doubt, and the end of its span."""
    async with prepared(Case(connect, 0, open_both_spans, MediaSpan(9, 60.0), SAYS_TWO)) as staged:
        calls = list(staged.adapter.operations)
        with anyio.CancelScope() as scope:
            scope.cancel()
            await staged.controller.send(audio())

        assert scope.cancelled_caught
        assert staged.adapter.operations == calls
        delivery = staged.controller.delivery
        assert (delivery.accepted, delivery.refused) == (1, 1)
        await staged.check()
        await staged.controller.send(audio())
        assert staged.controller.delivery.sent == 2
