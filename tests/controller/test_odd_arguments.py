"""A session is made of what it needs, or refused by an error that says what to give; nothing was done by then."""

from __future__ import annotations

import math
from types import SimpleNamespace
from typing import Any

import pytest

from realtime_async import (
    ContractViolation,
    Deadlines,
    RealtimeCompletionGate,
    RealtimeSessionController,
    SessionStateError,
    open_session,
    resume_session,
)
from realtime_async.adapters.scripted import ScriptedAdapter
from realtime_async.journals import MemoryJournal, SqliteJournal
from realtime_async.ports import RealtimeOutputFrame, ResponseDone, ToolCall
from tests.controller.staged import Stage, plain_sidecar

pytestmark = pytest.mark.virtual_time


class AdapterOfOne(ScriptedAdapter):
    """Its class has all that its instances have."""

    adapter_ref = "adapter.of_one"
    input_format = None
    output_format = None


ODD: dict[str, tuple[str, Any, str]] = {
    "no sidecar": ("sidecar", None, "the sidecar is None: give a RealtimeSessionSidecar"),
    "a name for a sidecar": ("sidecar", "desk", "the sidecar is 'desk': give a RealtimeSessionSidecar"),
    "no adapter": (
        "adapter",
        None,
        "has no adapter_ref, input_format, .*close.*: give a RealtimeProviderAdapter",
    ),
    "half an adapter": (
        "adapter",
        SimpleNamespace(adapter_ref="half", input_format=None, output_format=None, connect=print),
        r"of type SimpleNamespace, which has no send\(\), receive\(\), interrupt\(\), restart\(\), close\(\): give",
    ),
    "a name for the format of what it takes": (
        "adapter",
        ScriptedAdapter(input_format="g711_ulaw"),  # type: ignore[arg-type]  # that is the point
        r"the adapter's input_format is 'g711_ulaw': let it declare an AudioFormat, such as",
    ),
    "a rate for the format of what it gives": (
        "adapter",
        ScriptedAdapter(output_format=8000),  # type: ignore[arg-type]  # that is the point
        "the adapter's output_format is 8000: let it declare an AudioFormat",
    ),
    "no journal": ("journal", None, r"the journal is None, which has no append\(\): give a RunJournal"),
    "a path for a journal": ("journal", "calls.db", "the journal is 'calls.db', which has no append"),
    "a journal that is not entered": (
        "journal",
        SqliteJournal.open("calls.db"),
        "which has no append.*: enter it with `async with`, which gives a RunJournal",
    ),
    "the class of an adapter": (
        "adapter",
        AdapterOfOne,
        "the adapter is the class AdapterOfOne: give an instance of it",
    ),
    "the class of a journal": (
        "journal",
        MemoryJournal,
        "the journal is the class MemoryJournal: give an instance of it",
    ),
    "a name for a gate": ("gate", "x", "the gate is 'x': give a RealtimeCompletionGate, or None"),
    "no deadlines": ("deadlines", None, "the deadlines are None: give a Deadlines"),
    "a number for deadlines": ("deadlines", 5, "the deadlines are 5: give a Deadlines"),
}


def arguments(name: str, value: Any) -> dict[str, Any]:
    given = {
        "sidecar": plain_sidecar(),
        "adapter": ScriptedAdapter(),
        "journal": MemoryJournal(),
        "run_id": "run-1",
    }
    return {**given, name: value}


@pytest.mark.parametrize("name, value, why", ODD.values(), ids=ODD)
async def test_no_door_opens_a_session_made_of_something_else(name: str, value: Any, why: str) -> None:
    given = arguments(name, value)

    with pytest.raises(ContractViolation, match=why):
        RealtimeSessionController(**given)
    with pytest.raises(ContractViolation, match=why):
        await RealtimeSessionController.resume(**given)
    for door in (open_session, resume_session):
        with pytest.raises(ContractViolation, match=why):
            async with door(**given):
                pass
    if name != "journal":
        assert [run async for run in given["journal"].runs()] == []


async def test_a_session_is_supervised_by_a_restart_policy_or_by_none(stage: Stage) -> None:
    why = "the restart policy is 'x': give a RestartPolicy"
    given = arguments("restart_policy", "x")

    for door in (open_session, resume_session):
        with pytest.raises(ContractViolation, match=why):
            async with door(**given):
                pass
    staged = await stage.connected()
    with pytest.raises(ContractViolation, match=why):
        await staged.controller.restart(policy="x")  # type: ignore[arg-type]  # that is the point


async def test_a_reason_that_there_is_not_is_refused_before_anything_is_done(stage: Stage) -> None:
    staged = await stage.connected()
    controller: Any = staged.controller

    with pytest.raises(ContractViolation, match="the close reason is 'nope': choose one of normal, cancel, "):
        await controller.close("nope")
    for restart in (controller.begin_restart, controller.restart):
        with pytest.raises(
            ContractViolation, match="the restart reason is 'nope': choose one of requested, "
        ):
            await restart("nope")
    with pytest.raises(ContractViolation, match="played_ms is '5': give the milliseconds"):
        await controller.interrupt(played_ms="5")

    assert await staged.kinds() == ["connect_requested", "connected"]
    assert (await controller.close("normal")).kind == "closed"


@pytest.mark.parametrize(
    "name", ["connect", "send", "interrupt", "restart", "close", "gate", "journal", "tool"]
)
def test_no_deadline_is_endless(name: str) -> None:
    with pytest.raises(ContractViolation, match=f"the deadline {name} is inf: give finite seconds"):
        Deadlines(**{name: math.inf})


async def test_a_usage_of_another_kind_is_refused_where_it_is_given() -> None:
    usage: Any = {"total": 3}

    with pytest.raises(
        ContractViolation, match="the usage of an answer is of type dict: give a ResponseUsage"
    ):
        RealtimeOutputFrame.of(ResponseDone("completed", usage))


async def test_an_answer_that_comes_after_the_end_is_refused_by_its_name() -> None:
    async def tool() -> str:
        return "done"

    async with open_session(**arguments("gate", RealtimeCompletionGate())) as session:
        await session.close()
        with pytest.raises(SessionStateError, match="answer is not possible while session"):
            await session.answer(ToolCall("call-1", "tool", "{}"), tool)
