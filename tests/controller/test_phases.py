"""Every operation in every phase: what the contract's table allows, and what it refuses."""

from __future__ import annotations

from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager, suppress

import anyio
import pytest

from realtime_async._core.lifecycle import ALLOWED, Operation, Phase, Verdict
from realtime_async.adapters.scripted import Delay, Drop, FrameFate, Hang, Refuse, Script, ScriptedAdapter
from realtime_async.controller import RealtimeSessionController
from realtime_async.errors import AgentError, ContractViolation, SessionStateError
from realtime_async.ports import RealtimeCloseReason, RealtimeOutputFrame
from tests.controller.staged import StagedSession, plain_sidecar, text

pytestmark = pytest.mark.virtual_time

OPERATIONS: dict[str, Callable[[RealtimeSessionController], Awaitable[object]]] = {
    "connect": lambda controller: controller.connect(),
    "send": lambda controller: controller.send(text()),
    "receive": lambda controller: controller.receive(),
    "interrupt": lambda controller: controller.interrupt(),
    "begin_restart": lambda controller: controller.begin_restart(),
    "complete_restart": lambda controller: controller.complete_restart(),
    "close": lambda controller: controller.close(),
    "hand_over": lambda controller: controller.hand_over(),
}

# The table of the contract, in its own order.
TABLE = {
    "new": "go error error error error error go error",
    "connecting": "error error error error error error go error",
    "open": "error go go go go error go go",
    "lost": "error gate waits fence go error go go",
    "restarting": "error gate waits fence error go go go",
    "restart_failed": "error gate waits fence go go go go",
    "closing": "error error none error error error same error",
    "closed": "error error none error error error again error",
    "failed": "error error none error error error again error",
    "detached": "error error none error error error again error",
    "handed_over": "error error none error error error again error",
}
VERDICTS = {
    "go": Verdict.GO,
    "gate": Verdict.GATE,
    "waits": Verdict.WAIT,
    "fence": Verdict.FENCE,
    "same": Verdict.SHARE,
    "none": Verdict.NONE,
    "again": Verdict.REPEAT,
    "error": None,
}
PAIRS = [
    pytest.param(phase, operation, verdict, id=f"{operation}-in-{phase}")
    for phase, row in TABLE.items()
    for operation, verdict in zip(OPERATIONS, row.split(), strict=True)
]


def pairs(*verdicts: str) -> list[object]:
    return [pair for pair in PAIRS if pair.values[2] in verdicts]


@asynccontextmanager
async def session_in(phase: str) -> AsyncIterator[StagedSession]:
    """A session that has come to *phase* by itself; nothing waits for ever in it."""
    slow = {"connecting": "connect", "closing": "close"}.get(phase)
    fails = {"restart_failed": ("restart", Refuse()), "failed": ("close", Refuse())}.get(phase)
    faults: dict[tuple[str, int], Delay | Refuse] = {(slow, 1): Delay(1)} if slow else {}
    faults |= {(fails[0], 1): fails[1]} if fails else {}
    staged = StagedSession(ScriptedAdapter(Script(faults=faults)))
    controller = staged.controller
    async with anyio.create_task_group() as tasks:
        if phase == "connecting":
            tasks.start_soon(tolerated, controller.connect)
        elif phase != "new":
            await controller.connect()
        if phase == "lost":
            staged.provider.inject("send", Drop(FrameFate.NOT_SENT))
            await controller.send(text())
        if phase in {"restarting", "restart_failed"}:
            await controller.begin_restart()
        if phase == "restart_failed":
            await controller.complete_restart()
        if phase == "closing":
            tasks.start_soon(tolerated, controller.close)
        if phase == "failed":
            await tolerated(controller.close)
        if phase == "closed":
            await controller.close()
        if phase == "detached":
            await controller.close(RealtimeCloseReason.HOST_OWNED_DETACH)
        if phase == "handed_over":
            await controller.hand_over()
        await anyio.wait_all_tasks_blocked()
        yield staged
        await tolerated(controller.close)
    await staged.check()


async def tolerated(operation: Callable[[], Awaitable[object]]) -> None:
    """Run what is not the subject of the test, whatever comes of it."""
    with suppress(AgentError):
        await operation()


def test_the_table_has_every_pair_once() -> None:
    assert len(PAIRS) == len(TABLE) * len(OPERATIONS) == 88


@pytest.mark.parametrize("phase, operation, verdict", PAIRS)
def test_the_package_has_the_same_table(phase: str, operation: str, verdict: str) -> None:
    """The pages draw theirs from it, and a wrong verdict may be without effect until two rare things meet."""
    assert ALLOWED[Phase(phase)].get(Operation(operation)) == VERDICTS[verdict]


@pytest.mark.parametrize("phase, operation, verdict", pairs("error"))
async def test_what_the_phase_does_not_allow_is_refused_before_anything_is_done(
    phase: str, operation: str, verdict: str
) -> None:
    async with session_in(phase) as staged:
        calls, records = list(staged.adapter.operations), await staged.kinds()

        with pytest.raises(SessionStateError, match=r"\w") as refusal:
            await OPERATIONS[operation](staged.controller)

        assert isinstance(refusal.value, ContractViolation)
        assert staged.adapter.operations == calls
        assert await staged.kinds() == records


@pytest.mark.parametrize("phase, operation, verdict", pairs("gate"))
async def test_a_frame_sent_without_a_connection_is_gated(phase: str, operation: str, verdict: str) -> None:
    async with session_in(phase) as staged:
        calls, records = list(staged.adapter.operations), len(await staged.records())
        queued = staged.controller.state.backpressure_state.queued_frames

        record = await staged.controller.send(text())

        assert record.kind == "backpressure_applied"
        assert staged.adapter.operations == calls
        assert await staged.kinds(after=records) == ["backpressure_applied"]
        assert staged.controller.state.backpressure_state.queued_frames == queued + 1


@pytest.mark.parametrize("phase, operation, verdict", pairs("fence"))
async def test_an_interrupt_without_a_connection_is_a_fence(phase: str, operation: str, verdict: str) -> None:
    async with session_in(phase) as staged:
        calls, records = list(staged.adapter.operations), len(await staged.records())

        record = await staged.controller.interrupt()

        assert record.kind == "output_fenced"
        assert staged.adapter.operations == calls
        assert await staged.kinds(after=records) == ["output_fenced"]


@pytest.mark.parametrize("phase, operation, verdict", pairs("waits"))
async def test_a_receive_without_a_connection_waits_for_the_next(
    phase: str, operation: str, verdict: str
) -> None:
    async with session_in(phase) as staged, anyio.create_task_group() as tasks:
        received: list[object] = []

        async def receive() -> None:
            received.append(await staged.controller.receive())

        tasks.start_soon(receive)
        await anyio.wait_all_tasks_blocked()
        waited = list(received)
        if phase != "restarting":
            await staged.controller.begin_restart()
        await staged.controller.complete_restart()
        staged.provider.feed(RealtimeOutputFrame.audio(b"\0\0"))
        await anyio.wait_all_tasks_blocked()

        assert waited == []
        assert len(received) == 1


@pytest.mark.parametrize("phase, operation, verdict", pairs("none"))
async def test_the_stream_of_a_session_that_ends_has_ended(phase: str, operation: str, verdict: str) -> None:
    async with session_in(phase) as staged:
        calls, records = list(staged.adapter.operations), await staged.kinds()

        received = await staged.controller.receive()

        assert received is None
        assert staged.adapter.operations == calls
        assert await staged.kinds() == records


@pytest.mark.parametrize("phase, operation, verdict", pairs("again"))
async def test_closing_again_returns_the_same_terminal_record(
    phase: str, operation: str, verdict: str
) -> None:
    async with session_in(phase) as staged:
        calls, records = list(staged.adapter.operations), await staged.kinds()

        first = await staged.controller.close()
        second = await staged.controller.close(RealtimeCloseReason.CANCEL)

        assert first is second
        assert first.kind in {"closed", "close_failed", "handed_over"}
        assert staged.controller.state.lifecycle_status == ("detached" if phase == "handed_over" else phase)
        assert staged.adapter.operations == calls
        assert await staged.kinds() == records


async def test_closing_while_closing_waits_for_the_same_result() -> None:
    async with session_in("closing") as staged:
        results: list[object] = []

        async def close() -> None:
            results.append(await staged.controller.close())

        async with anyio.create_task_group() as tasks:
            tasks.start_soon(close)
            tasks.start_soon(close)

        assert staged.adapter.operations.count("close") == 1
        assert results[0] == results[1]


# The call that each allowed operation makes, and the records that it begins with.
GOES = {
    "connect": ("connect", ["connect_requested", "connected"]),
    "send": ("send", ["input_send_requested", "input_sent"]),
    "interrupt": ("interrupt", ["interrupt_requested", "interrupted"]),
    "begin_restart": (None, ["restart_requested", "restart_started"]),
    "complete_restart": ("restart", ["restart_completed"]),
}


@pytest.mark.parametrize(
    "phase, operation, verdict",
    [pair for pair in pairs("go") if pair.values[1] in GOES],  # type: ignore[attr-defined]  # a pytest parameter
)
async def test_what_the_phase_allows_is_done(phase: str, operation: str, verdict: str) -> None:
    call, kinds = GOES[operation]
    if (phase, operation) == ("restart_failed", "complete_restart"):
        kinds = ["restart_started", "restart_completed"]
    async with session_in(phase) as staged:
        calls, records = len(staged.adapter.operations), len(await staged.records())

        await OPERATIONS[operation](staged.controller)

        made = staged.adapter.operations[calls:]
        assert made[:1] == ([] if call is None else [call])
        assert (await staged.kinds(after=records))[: len(kinds)] == kinds


async def test_a_receive_while_open_asks_the_provider() -> None:
    async with session_in("open") as staged:
        staged.provider.feed(RealtimeOutputFrame.audio(b"\0\0"))

        received = await staged.controller.receive()

        assert received is not None
        assert staged.adapter.operations == ["connect", "receive"]
        assert await staged.kinds(after=2) == ["output_receive_requested", "output_received"]


@pytest.mark.parametrize("phase", ["new", "connecting", "open", "lost", "restarting", "restart_failed"])
async def test_a_session_can_be_closed_from_every_phase_that_lives(phase: str) -> None:
    async with session_in(phase) as staged:
        terminal = await staged.controller.close()

        kinds = await staged.kinds()
        assert terminal.kind == "closed"
        assert kinds[-1] == "closed"
        assert "close_requested" in kinds
        assert staged.controller.state.lifecycle_status == "closed"


@pytest.mark.parametrize("phase", ["open", "lost", "restarting", "restart_failed"])
async def test_a_session_can_be_handed_over_from_every_phase_that_has_had_a_connection(phase: str) -> None:
    async with session_in(phase) as staged:
        last = await staged.controller.hand_over()

        kinds = await staged.kinds()
        assert last.kind == kinds[-1] == "handed_over"
        assert last.close_reason is RealtimeCloseReason.HOST_OWNED_DETACH
        assert "hand_over_requested" in kinds
        assert staged.adapter.operations[-1] == "close"


async def test_closing_a_session_that_never_connected_calls_nobody() -> None:
    async with session_in("new") as staged:
        await staged.controller.close()

        assert staged.adapter.operations == []
        assert await staged.kinds() == ["close_requested", "closed"]


async def test_closing_while_connecting_ends_the_attempt_and_calls_nobody_else() -> None:
    async with session_in("connecting") as staged:
        await staged.controller.close()

        assert staged.adapter.operations == ["connect"]
        assert sorted(await staged.kinds()) == [
            "close_requested",
            "closed",
            "connect_failed",
            "connect_requested",
        ]
        assert (await staged.kinds())[-1] == "closed"


async def test_a_connect_that_failed_leaves_the_session_new() -> None:
    staged = StagedSession(ScriptedAdapter(Script(faults={("connect", 1): Refuse()})))
    await tolerated(staged.controller.connect)

    record = await staged.controller.connect()

    assert record.kind == "connected"
    assert await staged.kinds() == ["connect_requested", "connect_failed", "connect_requested", "connected"]
    await staged.check()


async def twice(staged: StagedSession, operation: str) -> list[BaseException]:
    """Begin *operation* in two tasks."""
    errors: list[BaseException] = []

    async def begin() -> None:
        try:
            await OPERATIONS[operation](staged.controller)
        except SessionStateError as error:
            errors.append(error)

    async with anyio.create_task_group() as tasks:
        tasks.start_soon(begin)
        tasks.start_soon(begin)
        await anyio.wait_all_tasks_blocked()
        tasks.cancel_scope.cancel()
    return errors


async def test_a_second_receive_is_refused_while_one_waits() -> None:
    async with session_in("open") as staged:
        errors = await twice(staged, "receive")

        assert len(errors) == 1
        assert staged.adapter.operations == ["connect", "receive"]


async def test_a_second_begin_restart_is_refused_while_one_waits() -> None:
    async with session_in("open") as staged:
        staged.provider.inject("send", Hang())
        async with anyio.create_task_group() as tasks:
            tasks.start_soon(tolerated, lambda: staged.controller.send(text()))
            await anyio.wait_all_tasks_blocked()
            errors = await twice(staged, "begin_restart")
            tasks.cancel_scope.cancel()

        assert len(errors) == 1


async def test_a_second_complete_restart_is_refused_while_one_waits() -> None:
    async with session_in("restarting") as staged:
        staged.provider.inject("restart", Hang())
        errors = await twice(staged, "complete_restart")

        assert len(errors) == 1
        assert staged.adapter.operations == ["connect", "restart"]


async def test_a_sidecar_that_no_session_can_run_by_is_refused_before_anything_is_done() -> None:
    staged = StagedSession(sidecar=plain_sidecar(queue_capacity=0))

    with pytest.raises(ContractViolation, match="queue_capacity"):
        await staged.controller.connect()

    assert staged.adapter.operations == []
    assert await staged.kinds() == []
