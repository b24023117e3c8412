"""What the local adapter holds at most, and for how long it holds the event loop."""

from __future__ import annotations

import gc
import time
from collections.abc import AsyncIterator, Iterator
from pathlib import Path

import anyio
import anyio.lowlevel
import pytest

from realtime_async.adapters.local.recogniser import PIECE_BYTES, Recogniser
from realtime_async.errors import (
    ProviderConnectionLost,
    ProviderFailure,
)
from realtime_async.ports import (
    RealtimeInputFrame,
    ResponseDone,
    ResponseStarted,
)
from tests.adapters.local.caller import (
    ANSWER,
    QUESTION,
    SESSION,
    asked,
    called,
    repeat,
)
from tests.adapters.local.speech import frames

pytestmark = [pytest.mark.anyio, pytest.mark.usefixtures("ready_made_ears")]


async def test_a_send_waits_while_a_second_of_input_lies_unheard() -> None:
    async with called() as caller:
        frame = RealtimeInputFrame.audio(bytes(640))
        taken = 0
        while caller.adapter.send_nowait(SESSION, frame):
            taken += 1

        await caller.adapter.send(SESSION, frame)

        assert taken == 50


async def test_frames_of_any_size_are_taken_one_at_a_time() -> None:
    async with called() as caller:
        large = RealtimeInputFrame.audio(bytes(1_000_000))

        assert caller.adapter.send_nowait(SESSION, large)
        assert not caller.adapter.send_nowait(SESSION, RealtimeInputFrame.audio(b"\0\0"))


async def test_a_send_that_waits_when_the_connection_dies_was_not_delivered() -> None:
    async def wait_for_room() -> None:
        with pytest.raises(ProviderConnectionLost) as lost:
            await caller.adapter.send(SESSION, frame)
        outcomes.append(lost.value.delivered)

    outcomes: list[bool | None] = []
    frame = RealtimeInputFrame.audio(bytes(640))
    async with called() as caller, anyio.create_task_group() as tasks:
        while caller.adapter.send_nowait(SESSION, frame):
            pass
        tasks.start_soon(wait_for_room)
        await anyio.lowlevel.checkpoint()
        caller.adapter.drop(SESSION)

    assert outcomes == [False]


async def test_an_answer_that_nobody_receives_is_not_written_on() -> None:
    pieces = 0

    async def count(question: str) -> AsyncIterator[str]:
        nonlocal pieces
        while True:
            pieces += 1
            yield "And so on. "

    async with called(count) as caller:
        await caller.send(RealtimeInputFrame.request_response())
        await caller.receive_until(ResponseStarted)
        await anyio.wait_all_tasks_blocked()

        assert 0 < pieces < 5


async def test_what_nobody_receives_stops_the_listener_and_then_the_sender() -> None:
    async def write() -> None:
        while True:
            await caller.send(RealtimeInputFrame.request_response("x"))

    async with called(repeat) as caller, anyio.create_task_group() as tasks:
        tasks.start_soon(write)
        await anyio.wait_all_tasks_blocked()
        waiting = len(caller.sent)
        await caller.receive_until(ResponseDone, times=60)
        tasks.cancel_scope.cancel()

    assert waiting < 100


async def test_text_for_which_no_answer_is_asked_has_a_bound() -> None:
    async with called(repeat) as caller:
        await caller.send(RealtimeInputFrame.text("x" * 60_000))
        with pytest.raises(ProviderFailure, match="request_response"):
            await caller.send(RealtimeInputFrame.text("x" * 10_000))

        await caller.send(RealtimeInputFrame.request_response())
        await caller.receive_until(ResponseStarted)
        await caller.adapter.interrupt(SESSION, None)
        await caller.send(RealtimeInputFrame.text("x" * 60_000))


async def test_text_that_is_replayed_counts_once() -> None:
    async def measure(question: str) -> str:
        return str(len(question))

    async with called(measure) as caller:
        await caller.send(RealtimeInputFrame.text("x" * 60_000))

        await caller.restart()
        await caller.send(RealtimeInputFrame.request_response())
        await caller.receive_until(ResponseDone)

        assert caller.said() == ["60000"]


async def test_the_recogniser_gets_20_ms_at_a_time_and_the_loop_turns_in_between(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    turns = 0
    fed: list[tuple[int, int]] = []
    feed = Recogniser.feed

    def watched(self: Recogniser, pcm: bytes) -> None:
        fed.append((len(pcm), turns))
        feed(self, pcm)

    async def count_turns() -> None:
        nonlocal turns
        while True:
            await anyio.lowlevel.checkpoint()
            turns += 1

    monkeypatch.setattr(Recogniser, "feed", watched)
    async with called() as caller, anyio.create_task_group() as tasks:
        tasks.start_soon(count_turns)
        # A whole sentence at once, so that nothing but the adapter itself makes pauses.
        await caller.send(RealtimeInputFrame.audio(asked()))
        await caller.receive_until(ResponseDone)
        tasks.cancel_scope.cancel()

    assert caller.heard() == [QUESTION]
    assert max(size for size, _ in fed) <= PIECE_BYTES
    # Tasks that are ready run in any order, so the loop may have turned after the other task's step.
    assert all(earlier < later for (_, earlier), (_, later) in zip(fed, fed[2:], strict=False))


@pytest.fixture
def no_garbage_collection() -> Iterator[None]:
    """It stops the loop for as long as the whole test run has made objects, which is not what is measured."""
    gc.collect()
    gc.disable()
    yield
    gc.enable()


SCHEDULED = Path("/proc/thread-self/schedstat")


def own_time_s() -> float:
    """
    The time, less what this thread has waited for a processor, which others had.

    So one who sleeps, waits for a lock or for the disk is seen; where the system does not tell it, one who computes.
    """
    if not SCHEDULED.exists():
        return time.thread_time()
    return time.monotonic() - int(SCHEDULED.read_text(encoding="ascii").split()[1]) / 1e9


async def longest_turn_s() -> float:
    """Of the loop, while a question is heard and answered over a restart: in the thread's own time."""
    longest_s = 0.0

    async def watch() -> None:
        nonlocal longest_s
        while True:
            before = own_time_s()
            await anyio.lowlevel.checkpoint()
            longest_s = max(longest_s, own_time_s() - before)

    async with called() as caller, anyio.create_task_group() as tasks:
        tasks.start_soon(watch)
        for frame in frames(asked())[:100]:
            await caller.send(RealtimeInputFrame.audio(frame))
        await caller.restart()
        tasks.start_soon(caller.say, asked()[100 * 640 :])
        await caller.receive_until(ResponseDone)
        tasks.cancel_scope.cancel()
    assert caller.said() == [ANSWER]
    return longest_s


@pytest.mark.usefixtures("no_garbage_collection")
async def test_no_turn_of_the_loop_takes_longer_than_10_ms() -> None:
    """What shares the core lengthens some turn of one conversation, but hardly one of each."""
    assert min([await longest_turn_s() for _ in range(3)]) < 0.010
