"""The scripted adapter: what it plays, and what it remembers."""

from __future__ import annotations

from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from functools import partial

import anyio
import anyio.lowlevel
import pytest

from realtime_async.adapters.scripted import (
    AfterSent,
    CallEnded,
    CallOutcome,
    CallStarted,
    Delay,
    EndOfStream,
    FrameTaken,
    NowaitScriptedAdapter,
    OnInterrupt,
    Operation,
    Played,
    Script,
    ScriptedAdapter,
)
from realtime_async.errors import (
    SessionStateError,
)
from realtime_async.ports import (
    RealtimeOutputFrame,
    RealtimeResponseId,
    ResponseDone,
    StreamCursor,
)
from realtime_async.testing.adapter_contract import AdapterContract
from tests.adapters.scripted_side import (
    NORMAL,
    OTHER_SESSION,
    SESSION,
    ScriptedSide,
    asked,
    connect,
    said,
)


async def test_without_a_script_it_takes_everything_and_waits_until_it_is_closed() -> None:
    adapter = ScriptedAdapter()
    await connect(adapter)

    await adapter.send(SESSION, asked("hello"))
    async with anyio.create_task_group() as tasks:
        tasks.start_soon(adapter.receive, SESSION)
        await adapter.until_called("receive")
        await adapter.close(SESSION, NORMAL)

    assert adapter.calls == ["connect", "send", "receive", "close"]
    assert [frame.payload for frame in adapter.sent] == ["hello"]
    assert await adapter.receive(SESSION) is None


async def test_it_plays_frames_given_before_and_fed_later_in_order() -> None:
    adapter = ScriptedAdapter(Script(frames=[said("a")]))
    adapter.feed(said("b"))
    await connect(adapter)
    adapter.feed(said("c"), said("d"))

    received = [await adapter.receive(SESSION) for _ in range(4)]

    assert [frame.payload for frame in received if frame] == ["a", "b", "c", "d"]


async def test_a_waiting_receive_gets_a_frame_that_is_fed() -> None:
    adapter = ScriptedAdapter()
    await connect(adapter)

    async with anyio.create_task_group() as tasks:
        tasks.start_soon(adapter.receive, SESSION)
        await adapter.until_called("receive")
        adapter.feed(said("at last"))

    last = adapter.log[-1]
    assert isinstance(last, CallEnded)
    assert last.frame is not None
    assert last.frame.payload == "at last"


async def test_the_log_numbers_calls_frames_and_ends_in_their_order() -> None:
    adapter = ScriptedAdapter()
    connection_id = await connect(adapter)
    frame = asked("hello")

    await adapter.send(SESSION, frame)

    started, taken, ended = adapter.log[2:]
    assert started == CallStarted(
        step=3, operation=Operation.SEND, session_id=SESSION, connection_id=connection_id, frame=frame
    )
    assert taken == FrameTaken(step=4, session_id=SESSION, connection_id=connection_id, frame=frame)
    assert ended == CallEnded(
        step=5,
        started=3,
        operation=Operation.SEND,
        session_id=SESSION,
        connection_id=connection_id,
        outcome=CallOutcome.RETURNED,
    )


async def test_payloads_are_in_no_repr_of_the_log() -> None:
    adapter = ScriptedAdapter(Script(frames=[said("secret answer")]))
    await connect(adapter)

    await adapter.send(SESSION, asked("secret question"))
    await adapter.receive(SESSION)

    assert "secret" not in repr(adapter.log)


async def test_what_a_connection_had_delivered_comes_before_its_loss_and_before_the_next_connection() -> None:
    adapter = ScriptedAdapter()
    connection_id = await connect(adapter)
    adapter.feed(said("a"), said("b"), AfterSent(1), said("c"))
    adapter.drop()

    first = await adapter.receive(SESSION)
    await adapter.restart(SESSION, connection_id)
    second = await adapter.receive(SESSION)
    await adapter.send(SESSION, asked("go on"))
    third = await adapter.receive(SESSION)

    assert [frame.payload for frame in (first, second, third) if frame] == ["a", "b", "c"]


async def test_a_receive_that_waits_goes_on_with_the_new_connection() -> None:
    adapter = ScriptedAdapter(suspend=anyio.lowlevel.checkpoint)
    connection_id = await connect(adapter)
    received: list[RealtimeOutputFrame | None] = []

    async def receive() -> None:
        received.append(await adapter.receive(SESSION))

    async with anyio.create_task_group() as tasks:
        tasks.start_soon(receive)
        await adapter.until_called("receive")
        await adapter.restart(SESSION, connection_id)
        adapter.feed(said("on the new one"))

    assert [frame.payload for frame in received if frame] == ["on the new one"]


async def test_the_end_of_the_stream_is_none_until_a_restart() -> None:
    adapter = ScriptedAdapter(Script(frames=[EndOfStream(), said("again")]))
    connection_id = await connect(adapter)

    ends = [await adapter.receive(SESSION), await adapter.receive(SESSION)]
    await adapter.restart(SESSION, connection_id)
    frame = await adapter.receive(SESSION)

    assert ends == [None, None]
    assert frame is not None


async def test_each_connection_has_an_id_of_its_own_and_says_what_it_kept() -> None:
    adapter = ScriptedAdapter(
        Script(kept_through=[StreamCursor.chunk(0), lambda sent: StreamCursor.chunk(len(sent))])
    )
    first = await connect(adapter)
    await adapter.send(SESSION, asked("one"))

    second = await adapter.restart(SESSION, first)
    await adapter.send(SESSION, asked("two"))
    third = await adapter.restart(SESSION, second.connection_id)
    fourth = await adapter.restart(SESSION, third.connection_id)

    assert len({first, second.connection_id, third.connection_id, fourth.connection_id}) == 4
    assert second.input_kept_through == StreamCursor.chunk(0)
    assert third.input_kept_through == fourth.input_kept_through == StreamCursor.chunk(2)
    assert [frame.payload for frame in adapter.sent_on[second.connection_id]] == ["two"]


async def test_a_restart_of_another_connection_than_the_current_one_is_refused() -> None:
    adapter = ScriptedAdapter()
    connection_id = await connect(adapter)
    await adapter.restart(SESSION, connection_id)

    with pytest.raises(SessionStateError):
        await adapter.restart(SESSION, connection_id)


async def test_an_interrupt_leaves_the_script_as_it_is_unless_told_otherwise() -> None:
    adapter = ScriptedAdapter(Script(frames=[said("a", "response.1"), said("b", "response.1")]))
    await connect(adapter)
    await adapter.receive(SESSION)

    await adapter.interrupt(SESSION, None, played_ms=20)
    frame = await adapter.receive(SESSION)

    assert frame is not None
    assert frame.payload == "b"


@pytest.mark.parametrize("response_id", [None, RealtimeResponseId("response.1")])
async def test_an_interrupt_that_stops_skips_to_the_end_of_that_answer(
    response_id: RealtimeResponseId | None,
) -> None:
    script = Script(
        frames=[
            said("a", "response.1"),
            said("b", "response.1"),
            RealtimeOutputFrame.of(ResponseDone(), response_id="response.1"),
            said("c", "response.2"),
        ],
        on_interrupt=OnInterrupt.STOP,
    )
    adapter = ScriptedAdapter(script)
    await connect(adapter)
    await adapter.receive(SESSION)

    await adapter.interrupt(SESSION, response_id)
    done, following = await adapter.receive(SESSION), await adapter.receive(SESSION)

    assert done is not None
    assert done.event == ResponseDone("cancelled")
    assert done.response_id == "response.1"
    assert following is not None
    assert following.payload == "c"


@pytest.mark.virtual_time
async def test_the_pauses_of_a_stopped_answer_are_left_out_with_it() -> None:
    word: list[Played] = [Delay(1), said("word", "response.1")]
    script = Script([*word, *word, *word, Delay(5), said("next")], on_interrupt=OnInterrupt.STOP)
    adapter = ScriptedAdapter(script)
    await connect(adapter)
    await adapter.receive(SESSION)
    began = anyio.current_time()

    await adapter.interrupt(SESSION, None)
    await adapter.receive(SESSION)
    done_after = anyio.current_time() - began
    await adapter.receive(SESSION)

    assert done_after == 0
    assert anyio.current_time() - began == pytest.approx(5)


async def test_an_interrupt_of_an_answer_that_is_over_stops_nothing() -> None:
    adapter = ScriptedAdapter(Script(on_interrupt=OnInterrupt.STOP))
    await connect(adapter)
    adapter.feed(RealtimeOutputFrame.of(ResponseDone(), response_id="response.1"), said("next"))
    await adapter.receive(SESSION)

    await adapter.interrupt(SESSION, RealtimeResponseId("response.1"))
    frame = await adapter.receive(SESSION)

    assert frame is not None
    assert frame.payload == "next"


async def test_sessions_are_played_their_own_scripts_side_by_side() -> None:
    adapter = ScriptedAdapter(Script(frames=[said("a")]), scripts={OTHER_SESSION: Script(frames=[said("z")])})
    await connect(adapter)
    await connect(adapter, OTHER_SESSION)
    adapter.drop(SESSION)

    first, second = await adapter.receive(SESSION), await adapter.receive(OTHER_SESSION)
    await adapter.send(OTHER_SESSION, asked("still there"))

    assert first is not None
    assert second is not None
    assert (first.payload, second.payload) == ("a", "z")


async def test_with_two_sessions_it_must_be_said_which_is_meant() -> None:
    adapter = ScriptedAdapter()
    await connect(adapter)
    await connect(adapter, OTHER_SESSION)

    with pytest.raises(SessionStateError):
        adapter.drop()


async def test_a_session_that_never_connected_is_unknown() -> None:
    with pytest.raises(SessionStateError):
        await ScriptedAdapter().send(SESSION, asked("hello"))


@pytest.mark.virtual_time
async def test_a_delay_among_the_frames_counts_from_the_frame_before_it() -> None:
    adapter = ScriptedAdapter(Script(frames=[Delay(1), said("a"), Delay(2), Delay(3), said("b")]))
    await connect(adapter)
    began = anyio.current_time()

    await adapter.receive(SESSION)
    heard_first = anyio.current_time() - began
    await anyio.sleep(1)
    await adapter.receive(SESSION)
    heard_second = anyio.current_time() - began

    assert [heard_first, heard_second] == pytest.approx([1, 6])


@pytest.mark.virtual_time
async def test_a_delay_that_is_fed_counts_from_the_receive_that_meets_it() -> None:
    adapter = ScriptedAdapter()
    await connect(adapter)
    adapter.feed(Delay(2), said("a"))
    await anyio.sleep(1)
    began = anyio.current_time()

    await adapter.receive(SESSION)

    assert anyio.current_time() - began == pytest.approx(2)


@pytest.mark.virtual_time
class TestScripted(AdapterContract):
    @pytest.fixture(
        autouse=True,
        params=[
            ScriptedAdapter,
            NowaitScriptedAdapter,
            partial(ScriptedAdapter, suspend=anyio.lowlevel.checkpoint),
        ],
        ids=["plain", "nowait", "suspending"],
    )
    def adapter(self, request: pytest.FixtureRequest) -> None:
        self.make: Callable[[Script], ScriptedAdapter] = request.param

    @asynccontextmanager
    async def open_adapter(self) -> AsyncIterator[ScriptedSide]:
        yield ScriptedSide(self.make(Script(on_interrupt=OnInterrupt.STOP)))
