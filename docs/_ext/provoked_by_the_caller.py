"""Errors that the caller has to mend: the call was wrong, came too early or too late, or took too long."""

from __future__ import annotations

import math
from contextlib import suppress

import anyio

from docs._ext.provocations import connected, desk, met, session, text
from realtime_async import (
    BackpressureOverflow,
    ContractViolation,
    DeadlineExceeded,
    Deadlines,
    InvalidIdentifier,
    MissingRequiredField,
    PolicyDenied,
    ProviderConnectionLost,
    RealtimeCompletionGate,
    RealtimeInputFrame,
    RealtimeOverflowPolicy,
    RealtimeSessionController,
    RealtimeSessionSidecar,
    RunId,
    SessionStateError,
    open_session,
)
from realtime_async.adapters.scripted import (
    Hang,
    HangShielded,
    Script,
    ScriptedAdapter,
)
from realtime_async.journals import MemoryJournal

__all__: list[str] = []

# The caller: the call itself was wrong


@met(ContractViolation)
async def wrong_payload() -> None:
    """Audio was given as text."""
    RealtimeInputFrame.audio("not audio")  # type: ignore[arg-type]  # that is the point


@met(ContractViolation)
async def no_such_privacy() -> None:
    """A frame was made with a privacy that there is not."""
    RealtimeInputFrame(media_kind="text", payload="hello", privacy="secret")


@met(ContractViolation)
async def tag_that_is_a_number() -> None:
    """A tag was no text."""
    RealtimeSessionController(desk(), ScriptedAdapter(), MemoryJournal(), run_id="call-42", tags=(7,))  # type: ignore[arg-type]  # that is the point


@met(ContractViolation)
async def endless_deadline() -> None:
    """A deadline was infinite."""
    Deadlines(send=math.inf)


@met(ContractViolation)
async def no_deadlines() -> None:
    """Something else was given for the deadlines."""
    RealtimeSessionController(desk(), ScriptedAdapter(), MemoryJournal(), run_id="call-42", deadlines=None)  # type: ignore[arg-type]  # that is the point


@met(ContractViolation)
async def no_such_reason() -> None:
    """A session was to be closed for a reason that there is not."""
    async with connected() as controller:
        await controller.close("nope")  # type: ignore[arg-type]  # that is the point


@met(ContractViolation)
async def half_a_sample() -> None:
    """Audio was cut within a sample."""
    RealtimeInputFrame.audio(bytes(959))


@met(ContractViolation)
async def no_async_source() -> None:
    """`send_audio_from` got a list."""
    async with open_session(desk(), ScriptedAdapter(), MemoryJournal(), run_id="call-42") as opened:
        await opened.send_audio_from([bytes(960)])  # type: ignore[arg-type]  # that is the point


@met(ContractViolation)
async def frame_too_large() -> None:
    """A frame was larger than the sidecar's `max_frame_bytes`."""
    async with connected(sidecar=desk(max_frame_bytes=1000)) as controller:
        await controller.send(RealtimeInputFrame.image(bytes(2000), frame_id="frame.1"))


@met(ContractViolation)
async def sidecar_out_of_range() -> None:
    """The sidecar's queue holds nothing; `connect` looks."""
    await session(sidecar=desk(queue_capacity=0)).connect()


@met(ContractViolation)
async def sidecar_field_unknown() -> None:
    """`voice_defaults` got a field that a sidecar doesn't have."""
    desk(queue_size=100)


@met(ContractViolation)
async def deadline_of_nothing() -> None:
    """A deadline was 0."""
    Deadlines(send=0)


@met(ContractViolation)
async def unheard_interrupt() -> None:
    """`interrupt` was told of less than nothing heard."""
    async with connected() as controller:
        await controller.interrupt(played_ms=-20)


@met(MissingRequiredField)
async def sidecar_without_route() -> None:
    """A sidecar built by hand has no route to the provider; `connect` looks."""
    await session(sidecar=RealtimeSessionSidecar("front-desk", "", "realtime.voice")).connect()


@met(InvalidIdentifier)
async def run_id_with_spaces() -> None:
    """A run was named in words."""
    RunId("call of Monday")


@met(InvalidIdentifier)
async def run_id_as_number() -> None:
    """A run was named by a number."""
    RunId(42)  # type: ignore[arg-type]  # that is the point


# The caller: not now


@met(SessionStateError)
async def send_before_connect() -> None:
    """A frame was sent before `connect`."""
    await session().send(text())


@met(SessionStateError)
async def send_after_close() -> None:
    """A frame was sent after `close`."""
    async with connected() as controller:
        await controller.close()
        await controller.send(text())


@met(SessionStateError)
async def complete_what_was_not_begun() -> None:
    """`complete_restart` came without `begin_restart`."""
    async with connected() as controller:
        await controller.complete_restart()


@met(SessionStateError)
async def two_receives() -> None:
    """Two tasks wait for the next frame."""
    raised = list[SessionStateError]()
    async with connected() as controller:
        async with anyio.create_task_group() as tasks:
            tasks.start_soon(controller.receive)
            await anyio.wait_all_tasks_blocked()
            try:
                await controller.receive()
            except SessionStateError as error:
                raised.append(error)
            tasks.cancel_scope.cancel()
        raise raised[0]


@met(SessionStateError)
async def two_owners_in_one_process() -> None:
    """Two sessions of a run have the same id."""
    journal = MemoryJournal()
    first = session(journal=journal)
    await first.connect()
    await session(journal=journal).connect()


@met(SessionStateError)
async def gate_of_a_run_that_is_over() -> None:
    """A session was given the completion gate of a run that is complete."""
    gate = RealtimeCompletionGate()
    for mark in (name for name in dir(gate) if name.startswith("mark_")):
        getattr(gate, mark)()
    assert gate.can_complete_run()
    session(gate=gate)


@met(BackpressureOverflow)
async def gate_overflows() -> None:
    """More was sent during a restart than the gate holds, and the policy is `fail_send`."""
    async with connected(
        sidecar=desk(queue_capacity=1, overflow_policy=RealtimeOverflowPolicy.FAIL_SEND)
    ) as controller:
        await controller.begin_restart()
        await controller.send(text("frame.1"))
        await controller.send(text("frame.2"))


@met(PolicyDenied)
async def tool_not_allowed() -> None:
    """A tool of the program's own refuses; the session that it leaves closes as `policy_denial`."""
    async with open_session(desk(), ScriptedAdapter(), MemoryJournal(), run_id="call-42"):
        raise PolicyDenied("tool 'refund' is not allowed for agent 'front-desk': ask a person")


@met(DeadlineExceeded)
async def connect_takes_too_long() -> None:
    """The provider didn't answer `connect`."""
    await session({("connect", 1): Hang()}).connect()


@met(DeadlineExceeded)
async def send_takes_too_long() -> None:
    """The provider took no more input, so nobody knows whether it has the frame."""
    async with connected({("send", 1): Hang()}) as controller:
        await controller.send(text())


@met(DeadlineExceeded)
async def gate_stays_full() -> None:
    """The gate was full, and nobody completed the restart."""
    async with connected(sidecar=desk(queue_capacity=1)) as controller:
        await controller.begin_restart()
        await controller.send(text("frame.1"))
        await controller.send(text("frame.2"))


@met(DeadlineExceeded)
async def adapter_does_not_let_go() -> None:
    """An adapter shielded its `send` from cancellation, and the session was closed."""
    adapter = ScriptedAdapter(Script(faults={("send", 1): HangShielded()}))
    raised = list[DeadlineExceeded]()
    async with connected(adapter=adapter) as controller:
        async with anyio.create_task_group() as tasks:
            tasks.start_soon(send_and_be_cut, controller)
            await anyio.wait_all_tasks_blocked()
            try:
                await controller.close()
            except DeadlineExceeded as error:
                raised.append(error)
            adapter.release()
        raise raised[0]


async def send_and_be_cut(controller: RealtimeSessionController) -> None:
    with suppress(ProviderConnectionLost):
        await controller.send(text())
