"""The adapter refuses, hangs, or loses the connection at every call of a call in turn; the session goes on."""

from __future__ import annotations

from collections import Counter
from collections.abc import Awaitable, Callable
from contextlib import suppress
from functools import partial
from typing import Any

import anyio
import pytest

from realtime_async import MediaSpan, RealtimeCompletionGate, RealtimeSessionController
from realtime_async.adapters.scripted import (
    Afterwards,
    Delay,
    Drop,
    Fault,
    FrameFate,
    Hang,
    NowaitScriptedAdapter,
    Refuse,
    ScriptedAdapter,
)
from realtime_async.errors import AgentError, ContractViolation, ProviderFailure, RetryClassification
from realtime_async.journals import MemoryJournal
from realtime_async.ports import RealtimeInputFrame, RealtimeOutputFrame, RealtimeSessionId
from tests.controller.carrying_on import carry_on
from tests.controller.staged import StagedSession, audio, plain_sidecar
from tests.controller.whole_call import WholeCall, answering, sidecar

pytestmark = pytest.mark.virtual_time

FAULTS: dict[str, Fault] = {
    "refused": Refuse(),
    "refused for good": Refuse("invalid_api_key", RetryClassification.NOT_RETRYABLE),
    "refused, who knows": Refuse("server_error", RetryClassification.UNKNOWN_OUTCOME),
    "lost, not delivered": Drop(FrameFate.NOT_SENT),
    "lost, delivered": Drop(FrameFate.ARRIVED),
    "lost, not delivered, who knows": Drop(FrameFate.VANISHED),
    "hangs": Hang(),
    "slow": Delay(1.0),
    "refused too late": Afterwards(Refuse()),
    "lost too late": Afterwards(Drop()),
    "hangs too late": Afterwards(Hang()),
}
KINDS = [
    pytest.param(ScriptedAdapter, None, id="alone"),
    pytest.param(ScriptedAdapter, MediaSpan(2, 60.0), id="spans"),
    pytest.param(NowaitScriptedAdapter, MediaSpan(2, 60.0), id="spans, nowait"),
]


async def calls_of_a_call(kind: type[ScriptedAdapter], span: MediaSpan | None) -> list[tuple[str, int]]:
    """The calls that a whole call makes: their operation, and how many of it there were by then."""
    staged = StagedSession(answering(kind), sidecar=sidecar(span))
    await WholeCall(staged).take(staged.check)
    count: Counter[str] = Counter()
    calls = []
    for operation in staged.provider.calls:
        count[operation] += 1
        calls.append((operation, count[operation]))
    return calls


@pytest.mark.parametrize("kind, span", KINDS)
@pytest.mark.parametrize("name", FAULTS)
async def test_whatever_the_adapter_does_at_whichever_call_the_session_keeps_its_promises(
    name: str, kind: type[ScriptedAdapter], span: MediaSpan | None
) -> None:
    fault = FAULTS[name]
    calls = await calls_of_a_call(kind, span)
    assert {operation for operation, _ in calls} == {
        "connect", "send", "receive", "interrupt", "restart", "close",
    }  # fmt: skip
    for operation, number in calls:
        if operation == "receive" and isinstance(fault, Afterwards):
            continue
        staged = StagedSession(answering(kind, {(operation, number): fault}), sidecar=sidecar(span))
        call = WholeCall(staged)

        await call.take(staged.check_fold)

        await staged.check()
        assert (await staged.kinds())[-1] in {"closed", "close_failed"}
        assert call.receiver_ended
        assert staged.controller.delivery.queued == 0


@pytest.mark.parametrize("kind, span", KINDS)
@pytest.mark.parametrize("name", FAULTS)
@pytest.mark.parametrize("operation", ["connect", "send", "receive", "interrupt", "restart"])
async def test_after_a_fault_everything_can_be_done_still(
    operation: str, name: str, kind: type[ScriptedAdapter], span: MediaSpan | None
) -> None:
    fault = FAULTS[name]
    if operation == "receive" and isinstance(fault, Afterwards):
        fault = fault.fault
    staged = StagedSession(answering(kind, {(operation, 1): fault}), sidecar=sidecar(span))
    controller = staged.controller
    steps: dict[str, list[Callable[[], Awaitable[object]]]] = {
        "connect": [controller.connect],
        "send": [controller.connect, partial(controller.send, audio())],
        "receive": [controller.connect, controller.receive],
        "interrupt": [controller.connect, controller.interrupt],
        "restart": [controller.connect, controller.begin_restart, controller.complete_restart],
    }
    for step in steps[operation]:
        with suppress(AgentError), anyio.move_on_after(60):
            await step()

    await carry_on(staged)


class AsyncSend(ScriptedAdapter):
    async def send_nowait(self, session_id: RealtimeSessionId, frame: RealtimeInputFrame) -> bool:
        return False


class AsyncReceive(ScriptedAdapter):
    async def receive_nowait(self, session_id: RealtimeSessionId) -> RealtimeOutputFrame | None:
        return None


@pytest.mark.parametrize("kind, name", [(AsyncSend, "send_nowait"), (AsyncReceive, "receive_nowait")])
def test_what_must_not_wait_may_not_be_async(kind: type[ScriptedAdapter], name: str) -> None:
    """Its coroutine would pass for a yes, and frames for sent."""
    gate = RealtimeCompletionGate()

    with pytest.raises(ContractViolation, match=rf"{name}.*make it a plain function"):
        RealtimeSessionController(plain_sidecar(), kind(), MemoryJournal(), run_id="run-1", gate=gate)

    gate.mark_realtime_sessions_terminal()
    assert gate.realtime_sessions_terminal, "it waits for no session"


class _OddAnswer(NowaitScriptedAdapter):
    """Hands its frames on, and makes of the answer what it was told to."""

    def __init__(self, made_of: Callable[[bool], Any]) -> None:
        super().__init__()
        self._made_of = made_of

    def send_nowait(self, session_id: RealtimeSessionId, frame: RealtimeInputFrame) -> Any:
        return self._made_of(super().send_nowait(session_id, frame))


async def _later(answer: bool) -> bool:
    return answer


@pytest.mark.parametrize(
    "made_of, named",
    [(_later, "coroutine"), (lambda _: None, "NoneType"), (lambda _: "no", "str")],
    ids=["a coroutine", "nothing", "a text"],
)
@pytest.mark.parametrize("span", [None, MediaSpan()], ids=["alone", "span"])
async def test_an_answer_that_is_neither_yes_nor_no_leaves_the_frame_in_doubt(
    span: MediaSpan | None, made_of: Callable[[bool], Any], named: str
) -> None:
    """A coroutine is true, though nothing will send its frame; nothing is false, though the frame may be on its way."""
    staged = StagedSession(_OddAnswer(made_of), sidecar=sidecar(span))
    controller = staged.controller
    await controller.connect()

    with pytest.raises(
        ProviderFailure, match=f"returned {named} from send_nowait: it must return True"
    ) as odd:
        await controller.send(audio())

    assert odd.value.retry == "unknown_outcome"
    assert (controller.delivery.sent, controller.delivery.in_doubt) == (0, 1)
    assert len(staged.provider.sent) <= 1, "it is not sent once more"
    await controller.close()
