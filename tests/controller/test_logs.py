"""What a session says aloud: one event per change of its life and per failure, and nothing of what was said."""

from __future__ import annotations

from collections import Counter
from contextlib import suppress
from typing import Any

import pytest

from realtime_async import MediaSpan
from realtime_async.adapters.scripted import Drop, Fault, FrameFate, Refuse, Script, ScriptedAdapter
from realtime_async.errors import (
    AgentError,
    BackpressureOverflow,
    ContractViolation,
    JournalFailure,
    ProviderFailure,
)
from realtime_async.journals import MemoryJournal
from realtime_async.ports import (
    OutputTranscript,
    RealtimeInputFrame,
    RealtimeOutputFrame,
    RealtimeRestartReason,
    StreamCursor,
    ToolCall,
)
from realtime_async.testing.journals import FaultyJournal
from tests.controller.staged import FRAME, SECRET, Stage, StagedSession, audio, plain_sidecar, text

pytestmark = pytest.mark.virtual_time

SPOKEN = RealtimeOutputFrame.of(OutputTranscript(SECRET, final=True), payload=SECRET)


async def an_eventful_call(stage: Stage) -> StagedSession:
    """Everything goes wrong that can, with words in every frame."""
    faults: dict[tuple[str, int], Fault] = {
        ("send", 2): Refuse(SECRET),
        ("send", 4): Drop(FrameFate.NOT_SENT),
        ("interrupt", 1): Refuse(SECRET),
        ("restart", 1): Refuse(SECRET),
        ("close", 1): Refuse(SECRET),
    }
    frames = [
        SPOKEN,
        RealtimeOutputFrame.of(ToolCall("call-1", "paint", SECRET)),
        RealtimeOutputFrame.audio(FRAME),
    ]
    script = Script(frames, faults=faults, kept_through=[StreamCursor.chunk(0)])
    staged = await stage.connected(ScriptedAdapter(script))
    controller = staged.controller
    for frame in [
        text(),
        RealtimeInputFrame.tool_result("call-1", SECRET),
        RealtimeInputFrame.request_response(SECRET),
        audio(),
        audio(),
    ]:
        with suppress(AgentError):
            await controller.send(frame)
    with suppress(AgentError):
        await controller.interrupt()
    await controller.begin_restart(RealtimeRestartReason.CONNECTION_LOST)
    await controller.complete_restart()
    await controller.complete_restart()
    for _ in frames:
        await controller.receive()
    with suppress(AgentError):
        await controller.interrupt("answer-1")
    with suppress(AgentError):
        await controller.close()
    return staged


async def test_nothing_that_was_said_is_logged(stage: Stage, heard: list[Any]) -> None:
    await an_eventful_call(stage)

    assert heard != []
    assert [entry for entry in heard if SECRET in repr(entry) or FRAME.hex() in repr(entry)] == []


async def test_every_event_names_its_run_its_session_and_its_connection(
    stage: Stage, heard: list[Any]
) -> None:
    staged = await an_eventful_call(stage)

    for entry in heard:
        assert entry["run_id"] == "run-1"
        assert entry["session_id"] == staged.session_id
        assert entry["connection_id"]


async def test_every_change_and_every_failure_is_logged_once(stage: Stage, heard: list[Any]) -> None:
    staged = await an_eventful_call(stage)

    logged = Counter(entry["event"] for entry in heard)
    kinds = Counter(f"realtime_{kind}" for kind in await staged.kinds())
    for kind in (
        "connected",
        "restart_completed",
        "restart_failed",
        "input_send_failed",
        "interrupt_failed",
        "close_failed",
    ):
        assert logged[f"realtime_{kind}"] == kinds[f"realtime_{kind}"] > 0


@pytest.mark.parametrize("span", [None, MediaSpan(3, 1.0)], ids=["alone", "spans"])
async def test_an_audio_frame_is_not_worth_a_line_above_debug(
    stage: Stage, heard: list[Any], span: MediaSpan | None
) -> None:
    staged = await stage.connected(sidecar=plain_sidecar(span=span))
    staged.provider.feed(*[RealtimeOutputFrame.audio(FRAME) for _ in range(20)])
    before = len(heard)
    for _ in range(20):
        await staged.controller.send(audio())
        await staged.controller.receive()
    await staged.controller.begin_restart()
    loud = [entry for entry in heard[before:] if entry["log_level"] != "debug"]
    for _ in range(20):
        await staged.controller.send(audio())

    assert [entry["event"] for entry in loud] == ["realtime_restart_requested"]
    assert [entry for entry in heard[before:] if entry["log_level"] != "debug"] == loud


@pytest.mark.parametrize("policy", ["drop_noncritical", "fail_send"])
async def test_a_gate_that_is_full_is_told_once_for_each_time_that_frames_waited(
    stage: Stage, heard: list[Any], policy: str
) -> None:
    staged = await stage.connected(sidecar=plain_sidecar(queue_capacity=2, overflow_policy=policy))
    told = []
    for _ in range(2):
        await staged.controller.begin_restart()
        for _ in range(5):
            told.append([entry for entry in heard if entry["event"] == "gate_full"])
            with suppress(BackpressureOverflow):
                await staged.controller.send(audio())
        await staged.controller.complete_restart()

    assert [len(entries) for entries in told] == [0, 0, 0, 1, 1, 1, 1, 1, 2, 2]
    for entry in told[-1]:
        assert (entry["log_level"], entry["queued"], entry["overflow_policy"]) == ("warning", 2, policy)
        assert entry["connection_id"].endswith((".1", ".2"))


async def test_a_journal_that_fails_is_an_error_of_the_run_that_names_its_kind(
    stage: Stage, heard: list[Any]
) -> None:
    staged = await stage.connected(journal=FaultyJournal(MemoryJournal(), fail_at=3, how="before"))
    with suppress(JournalFailure):
        await staged.controller.send(text())

    (entry,) = [entry for entry in heard if entry["event"] == "journal_failed"]
    assert (entry["log_level"], entry["error_kind"]) == ("error", "journal_failure")
    assert {"run_id", "session_id", "connection_id"} <= {*entry}


async def test_no_error_repeats_what_was_said(stage: Stage) -> None:
    faults: dict[tuple[str, int], Fault] = {
        ("send", 1): Refuse(SECRET),
        ("send", 2): Drop(FrameFate.VANISHED),
    }
    staged = await stage.connected(
        ScriptedAdapter(Script(faults=faults)), sidecar=plain_sidecar(max_frame_bytes=960)
    )
    errors: list[AgentError] = []
    for frame in [text(), text(), RealtimeInputFrame.text(SECRET * 1000)]:
        try:
            await staged.controller.send(frame)
        except AgentError as error:
            errors.append(error)

    assert [type(error) for error in errors][0::2] == [ProviderFailure, ContractViolation]
    assert [str(error) for error in errors if SECRET in f"{error} {error!r} {error.args}"] == []


async def test_no_repr_shows_what_was_said(stage: Stage) -> None:
    staged = await stage.connected()
    staged.provider.feed(SPOKEN)
    await staged.controller.send(text())
    await staged.controller.begin_restart()
    await staged.controller.send(text())
    await staged.controller.complete_restart()

    received = await staged.controller.receive()

    shown = [
        received,
        staged.controller.state,
        staged.controller.delivery,
        staged.controller,
        *await staged.records(),
    ]
    assert [each for each in map(repr, shown) if SECRET in each] == []
