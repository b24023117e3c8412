"""The completion gate: seven claims, who may make them, and that it never opens too early."""

from __future__ import annotations

import asyncio
import copy
import gc
import itertools
import pickle
from collections.abc import Callable

import anyio
import attrs
import cattrs
import pytest
from cattrs.preconf.orjson import make_converter

from realtime_async import RealtimeCompletionGate, RealtimeSessionController
from realtime_async.adapters.scripted import (
    Fault,
    Hang,
    Refuse,
    Script,
    ScriptedAdapter,
)
from realtime_async.errors import (
    AgentError,
    DeadlineExceeded,
    JournalFailure,
    ProviderFailure,
    SessionStateError,
)
from realtime_async.journals import MemoryJournal
from realtime_async.ports import (
    RealtimeCloseReason,
    RealtimeOutputFrame,
    RunId,
    RunJournal,
    SpeechStarted,
)
from realtime_async.testing.journals import FaultyJournal, JournalFault
from tests.controller.begun import begin, settled
from tests.controller.staged import plain_sidecar, text

pytestmark = pytest.mark.virtual_time

Gate = RealtimeCompletionGate
AS_TUPLE = cattrs.Converter(unstruct_strat=cattrs.UnstructureStrategy.AS_TUPLE)

MARKS: dict[str, Callable[[Gate], None]] = {
    "final_visible_output_seen": Gate.mark_final_visible_output,
    "terminal_event_replayable": Gate.mark_terminal_event_replayable,
    "stream_interventions_terminal": Gate.mark_stream_interventions_terminal,
    "realtime_sessions_terminal": Gate.mark_realtime_sessions_terminal,
    "output_delivery_terminal": Gate.mark_output_delivery_terminal,
    "approvals_terminal": Gate.mark_approvals_terminal,
    "journal_terminal": Gate.mark_journal_terminal,
}
OF_THE_CONTROLLERS = ("realtime_sessions_terminal", "journal_terminal")


def mark_everything(gate: Gate) -> None:
    for mark in MARKS.values():
        mark(gate)


def session_on(
    gate: Gate,
    journal: RunJournal | None = None,
    *,
    name: str = "session-1",
    adapter: ScriptedAdapter | None = None,
) -> RealtimeSessionController:
    return RealtimeSessionController(
        plain_sidecar(),
        ScriptedAdapter() if adapter is None else adapter,
        MemoryJournal() if journal is None else journal,
        run_id="run-1",
        session_id=name,
        gate=gate,
    )


def refusing(operation: str, fault: Fault) -> ScriptedAdapter:
    return ScriptedAdapter(Script(faults={(operation, 1): fault}))


# -- the flags


@pytest.mark.parametrize("flag", list(MARKS))
def test_each_mark_makes_its_own_claim_and_no_other(flag: str) -> None:
    gate = Gate()

    MARKS[flag](gate)

    assert [name for name in MARKS if getattr(gate, name)] == [flag]
    assert gate.pending() == tuple(name for name in MARKS if name != flag)


@pytest.mark.parametrize("flag", list(MARKS))
def test_a_mark_made_twice_changes_nothing(flag: str) -> None:
    once, twice = Gate(), Gate()

    MARKS[flag](once)
    MARKS[flag](twice)
    MARKS[flag](twice)

    assert once == twice


def test_a_new_gate_waits_for_all_seven() -> None:
    assert Gate().pending() == tuple(MARKS)


@pytest.mark.parametrize("count", range(len(MARKS) + 1))
def test_a_run_may_be_completed_only_when_all_seven_are_claimed(count: int) -> None:
    for claimed in itertools.combinations(MARKS, count):
        gate = Gate()
        for flag in claimed:
            MARKS[flag](gate)

        assert gate.can_complete_run() is (count == len(MARKS))
        assert gate.pending() == tuple(flag for flag in MARKS if flag not in claimed)


@pytest.mark.parametrize("count", range(len(MARKS) + 1))
def test_the_flags_are_plain_data(count: int) -> None:
    for claimed in itertools.combinations(MARKS, count):
        gate = Gate()
        for flag in claimed:
            MARKS[flag](gate)

        plain = cattrs.unstructure(gate)

        assert plain == {flag: flag in claimed for flag in MARKS}
        assert all(type(value) is bool for value in plain.values())
        assert cattrs.structure(plain, Gate) == gate


async def test_what_a_gate_in_use_needs_is_not_stored_with_its_flags() -> None:
    converter = make_converter()
    gate = Gate()
    controller = session_on(gate)
    gate.mark_approvals_terminal()
    async with anyio.create_task_group() as tasks:
        await begin(tasks, gate.wait)
        stored = converter.dumps(gate)
        tasks.cancel_scope.cancel()

    restored = converter.loads(stored, Gate)

    assert restored == gate
    assert "_" not in {name[0] for name in converter.unstructure(gate)}
    mark_everything(restored)
    assert restored.can_complete_run()
    await controller.close()


COPIES: dict[str, Callable[[Gate], Gate]] = {
    "copy": copy.copy,
    "deepcopy": copy.deepcopy,
    "pickle": lambda gate: pickle.loads(pickle.dumps(gate)),
    "attrs": lambda gate: Gate(**attrs.asdict(gate)),
    "evolve": attrs.evolve,
    "dict": lambda gate: cattrs.BaseConverter().structure(cattrs.BaseConverter().unstructure(gate), Gate),
    "tuple": lambda gate: AS_TUPLE.structure(AS_TUPLE.unstructure(gate), Gate),
}


@pytest.mark.parametrize("way", COPIES)
async def test_a_copy_of_a_gate_in_use_is_of_its_flags_alone(way: str) -> None:
    gate = Gate()
    controller = session_on(gate)
    gate.mark_approvals_terminal()
    async with anyio.create_task_group() as tasks:
        await begin(tasks, gate.wait)

        copied = COPIES[way](gate)

        tasks.cancel_scope.cancel()
    assert copied == gate
    assert copied is not gate
    mark_everything(copied)
    assert copied.can_complete_run()
    assert gate.pending() == tuple(flag for flag in MARKS if flag != "approvals_terminal")
    await controller.close()


# -- waiting


async def test_waiting_on_an_open_gate_is_over_at_once() -> None:
    gate = Gate()
    mark_everything(gate)

    with anyio.fail_after(0):
        await gate.wait()


@pytest.mark.parametrize("last", list(MARKS))
async def test_everybody_who_waits_is_let_through_by_the_last_mark(last: str) -> None:
    gate = Gate()
    async with anyio.create_task_group() as tasks:
        waiting = [await begin(tasks, gate.wait) for _ in range(3)]
        for flag, mark in MARKS.items():
            if flag != last:
                mark(gate)
                await settled()
                assert not any(each.is_over for each in waiting)

        MARKS[last](gate)
        await settled()

        assert all(each.is_over for each in waiting)


async def test_a_wait_given_up_leaves_the_others_waiting() -> None:
    gate = Gate()
    async with anyio.create_task_group() as tasks:
        given_up, patient = [await begin(tasks, gate.wait) for _ in range(2)]
        given_up.scope.cancel()
        await settled()
        assert given_up.is_over
        assert not patient.is_over

        mark_everything(gate)
        await settled()

        assert patient.is_over


@pytest.mark.parametrize("anyio_backend", ["asyncio"], indirect=True)
async def test_a_wait_may_be_cancelled_natively() -> None:
    gate = Gate()
    task = asyncio.ensure_future(gate.wait())
    await settled()

    task.cancel()
    with pytest.raises(asyncio.CancelledError):
        await task

    mark_everything(gate)
    await gate.wait()


async def test_a_wait_goes_on_over_a_session_that_comes_meanwhile() -> None:
    gate = Gate()
    for flag, mark in MARKS.items():
        if flag != "approvals_terminal":
            mark(gate)
    async with anyio.create_task_group() as tasks:
        waiting = await begin(tasks, gate.wait)
        controller = session_on(gate)
        gate.mark_approvals_terminal()
        await settled()
        assert not waiting.is_over

        await controller.close()
        await settled()

        assert waiting.is_over


# -- sessions on it


async def test_a_session_makes_both_its_claims_when_it_has_ended() -> None:
    gate = Gate()
    controller = session_on(gate)
    await controller.connect()
    await controller.send(text())
    assert set(OF_THE_CONTROLLERS) <= set(gate.pending())

    await controller.close()

    assert gate.pending() == tuple(flag for flag in MARKS if flag not in OF_THE_CONTROLLERS)


@pytest.mark.parametrize("flag", OF_THE_CONTROLLERS)
async def test_what_the_controllers_claim_nobody_else_can_while_a_session_is_open(flag: str) -> None:
    gate = Gate()
    controller = session_on(gate)

    MARKS[flag](gate)

    assert flag in gate.pending()
    await controller.close()


@pytest.mark.parametrize("reason", list(RealtimeCloseReason))
async def test_however_a_session_is_closed_the_gate_hears_of_it(reason: RealtimeCloseReason) -> None:
    gate = Gate()
    controller = session_on(gate)
    await controller.connect()

    await controller.close(reason)

    assert not set(OF_THE_CONTROLLERS) & set(gate.pending())


async def test_a_session_that_never_connected_holds_the_gate_until_it_is_closed() -> None:
    gate = Gate()
    controller = session_on(gate)
    mark_everything(gate)
    assert gate.pending() == OF_THE_CONTROLLERS

    await controller.close()

    assert gate.can_complete_run()


@pytest.mark.parametrize(
    "fault, raised", [(Refuse(), ProviderFailure), (Hang(), DeadlineExceeded)], ids=["refused", "hung"]
)
async def test_a_close_that_failed_is_the_end_of_its_session_too(
    fault: Fault, raised: type[AgentError]
) -> None:
    gate, journal = Gate(), MemoryJournal()
    controller = session_on(gate, journal, adapter=refusing("close", fault))
    await controller.connect()
    mark_everything(gate)

    with pytest.raises(raised):
        await controller.close()

    assert (await kinds(journal))[-1] == "close_failed"
    assert gate.can_complete_run()


async def test_a_close_that_was_given_up_is_the_end_once_it_is_known_to_be_durable() -> None:
    gate = Gate()
    controller = session_on(gate, adapter=refusing("close", Hang()))
    await controller.connect()
    mark_everything(gate)
    with anyio.move_on_after(1):
        await controller.close()

    await controller.close()

    assert gate.can_complete_run()


async def test_a_connect_that_failed_holds_the_gate_until_the_session_is_closed() -> None:
    gate = Gate()
    controller = session_on(gate, adapter=refusing("connect", Refuse()))
    with pytest.raises(ProviderFailure):
        await controller.connect()
    mark_everything(gate)
    assert gate.pending() == OF_THE_CONTROLLERS

    await controller.close()

    assert gate.can_complete_run()


@pytest.mark.parametrize("first", [0, 1])
async def test_a_gate_waits_for_the_last_of_its_sessions(first: int) -> None:
    gate, journal = Gate(), MemoryJournal()
    sessions = [session_on(gate, journal, name=f"session-{number}") for number in (1, 2)]
    for controller in sessions:
        await controller.connect()
    mark_everything(gate)

    await sessions[first].close()
    mark_everything(gate)
    assert gate.pending() == OF_THE_CONTROLLERS
    await sessions[1 - first].close()

    assert gate.can_complete_run()


async def test_a_session_closed_twice_does_not_speak_for_another() -> None:
    gate, journal = Gate(), MemoryJournal()
    one, other = (session_on(gate, journal, name=f"session-{number}") for number in (1, 2))
    mark_everything(gate)

    await one.close()
    await one.close()

    assert gate.pending() == OF_THE_CONTROLLERS
    await other.close()


@pytest.mark.parametrize("failures", [1, 2])
async def test_a_session_whose_resume_failed_holds_the_gate_until_it_is_resumed_and_closed(
    failures: int,
) -> None:
    gate, journal = Gate(), MemoryJournal()
    one, other = (session_on(gate, journal, name=f"session-{number}") for number in (1, 2))
    await one.connect()

    async def resumed(adapter: ScriptedAdapter) -> RealtimeSessionController:
        return await RealtimeSessionController.resume(
            plain_sidecar(), adapter, journal, run_id="run-1", session_id=one.session_id, gate=gate
        )

    for _ in range(failures):
        with pytest.raises(ProviderFailure):
            await resumed(refusing("connect", Refuse()))
        gc.collect()
    mark_everything(gate)

    await other.close()

    assert gate.pending() == OF_THE_CONTROLLERS
    await (await resumed(ScriptedAdapter())).close()
    assert gate.can_complete_run()


async def test_a_session_that_comes_after_another_has_ended_closes_the_gate_again() -> None:
    gate, journal = Gate(), MemoryJournal()
    await session_on(gate, journal).close()

    later = session_on(gate, journal, name="session-2")
    mark_everything(gate)

    assert gate.pending() == OF_THE_CONTROLLERS
    await later.close()
    assert gate.can_complete_run()


async def test_a_gate_that_let_its_run_complete_takes_no_session() -> None:
    gate = Gate()
    mark_everything(gate)

    with pytest.raises(SessionStateError):
        session_on(gate)

    assert gate.can_complete_run()


# The last of them is the terminal record: connect, send, receive and close.
APPENDS = 8


async def whole_call(gate: Gate, journal: RunJournal) -> None:
    adapter = ScriptedAdapter(Script([RealtimeOutputFrame.of(SpeechStarted())]))
    controller = session_on(gate, journal, adapter=adapter)
    try:
        await controller.connect()
        await controller.send(text())
        await controller.receive()
    finally:
        await controller.close()


async def test_a_whole_call_opens_the_gate() -> None:
    gate, journal = Gate(), MemoryJournal()

    await whole_call(gate, journal)
    mark_everything(gate)

    assert gate.can_complete_run()
    assert len(await kinds(journal)) == APPENDS


@pytest.mark.parametrize(
    "how", [JournalFault.REFUSE, JournalFault.BEFORE, JournalFault.AFTER, JournalFault.CONFLICT]
)
@pytest.mark.parametrize("fail_at", range(1, APPENDS + 1))
async def test_a_journal_that_failed_never_opens_the_gate(fail_at: int, how: JournalFault) -> None:
    gate = Gate()

    with pytest.raises(JournalFailure):
        await whole_call(gate, FaultyJournal(MemoryJournal(), fail_at=fail_at, how=how))
    mark_everything(gate)

    assert gate.pending() == OF_THE_CONTROLLERS


async def kinds(journal: RunJournal) -> list[str]:
    return [str(record.payload.kind) async for record in journal.read(RunId("run-1"))]
