"""The sessions of a local adapter."""

from __future__ import annotations

from typing import Any

import anyio
import anyio.lowlevel
import pytest

from realtime_async.adapters.local import LocalSpeechAdapter
from realtime_async.errors import (
    ContractViolation,
    ProviderFailure,
    SessionStateError,
)
from realtime_async.ports import (
    AudioFormat,
    RealtimeCloseReason,
    RealtimeInputFrame,
    RealtimeMediaKind,
    RealtimeSessionId,
    ResponseDone,
)
from tests.adapters.local.caller import (
    OTHER_QUESTION,
    QUESTION,
    SESSION,
    asked,
    called,
    connected,
)

pytestmark = [pytest.mark.anyio, pytest.mark.usefixtures("ready_made_ears")]


async def test_sessions_hear_what_is_said_to_them() -> None:
    async with LocalSpeechAdapter(sessions=2) as adapter, anyio.create_task_group() as tasks:
        callers = [await connected(adapter, RealtimeSessionId(name)) for name in ("first", "second")]
        for caller, question in zip(callers, (QUESTION, OTHER_QUESTION), strict=True):
            tasks.start_soon(caller.say, asked(question))
            tasks.start_soon(caller.receive_until, ResponseDone)

    assert [caller.heard() for caller in callers] == [[QUESTION], [OTHER_QUESTION]]


async def test_more_sessions_than_it_was_made_for_are_refused_until_one_is_closed() -> None:
    async with called() as caller:
        with pytest.raises(ProviderFailure, match="all 1 sessions are taken"):
            await connected(caller.adapter, RealtimeSessionId("another"))
        await caller.adapter.close(SESSION, RealtimeCloseReason.NORMAL)

        await connected(caller.adapter, RealtimeSessionId("another"))


async def test_a_session_that_is_not_known_is_an_error() -> None:
    async with called() as caller:
        with pytest.raises(SessionStateError, match="connect it first"):
            await caller.adapter.receive(RealtimeSessionId("another"))


async def test_an_adapter_that_is_not_open_says_so() -> None:
    adapter = LocalSpeechAdapter()

    with pytest.raises(ContractViolation, match="async with"):
        await connected(adapter)

    async with adapter:
        await connected(adapter)


async def test_what_is_raised_in_its_block_comes_out_as_it_is() -> None:
    with pytest.raises(ZeroDivisionError):
        async with called():
            raise ZeroDivisionError


@pytest.mark.parametrize(
    "frame, says",
    [
        (RealtimeInputFrame.image(b"\1"), "takes audio"),
        (RealtimeInputFrame.tool_result("call.1", "{}"), "asked for no tool call 'call.1'"),
        (RealtimeInputFrame.media_ref(RealtimeMediaKind.AUDIO, "content.1"), "takes audio"),
        (RealtimeInputFrame.audio(bytes(640), audio_format=AudioFormat(sample_rate=8000)), "takes audio"),
        (RealtimeInputFrame(media_kind=RealtimeMediaKind.AUDIO), "bears nothing"),
        (RealtimeInputFrame(media_kind=RealtimeMediaKind.TEXT), "bears nothing"),
        (RealtimeInputFrame(media_kind=RealtimeMediaKind.CONTROL), "bears nothing"),
    ],
    ids=["image", "tool result", "reference", "other rate", "no audio", "no text", "no signal"],
)
async def test_what_it_cannot_hear_or_read_is_refused(frame: RealtimeInputFrame, says: str) -> None:
    async with called() as caller:
        with pytest.raises(ProviderFailure, match=says) as refused:
            await caller.send(frame)

        assert refused.value.retry == "not_retryable"


@pytest.mark.parametrize(
    "given",
    [
        {"brain": "be nice"},
        {"sentences": "please book a table"},
        {"sentences": None},
        {"sentences": [b"please book a table"]},
        {"tools": "book_table"},
        {"tools": [print]},
        {"voice": "en-us"},
        {"sessions": 0},
        {"sessions": 1.5},
        {"sessions": True},
    ],
    ids=str,
)
def test_an_adapter_that_cannot_be_is_refused_at_once(given: dict[str, Any]) -> None:
    """A single text would else be heard as its letters, and an adapter for no session refuse each of them."""
    with pytest.raises(ContractViolation):
        LocalSpeechAdapter(**given)
