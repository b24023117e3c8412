"""
What every adapter must do, as tests that any implementation can inherit.

    class TestMyAdapter(AdapterContract):
        def open_adapter(self) -> AbstractAsyncContextManager[ProviderSide]:
            return loopback_provider_and_my_adapter()
"""

from __future__ import annotations

from collections.abc import AsyncIterator
from contextlib import AbstractAsyncContextManager, asynccontextmanager

import anyio
import anyio.lowlevel
import pytest

from realtime_async.errors import ProviderConnectionLost
from realtime_async.ports import (
    AudioFormat,
    RealtimeCloseReason,
    RealtimeOutputFrame,
    RealtimeSessionId,
    ResponseDone,
)
from realtime_async.testing._patience import patient
from realtime_async.testing._provider_side import SESSION, Connected, ProviderSide, connect
from realtime_async.testing.cancellation import Ending, Outcome, cancel_at_every_point, ways_to_cancel

__all__ = ["AdapterContract", "ProviderSide"]

OTHER_SESSION = RealtimeSessionId("session.other")
NORMAL = RealtimeCloseReason.NORMAL
SECRET = "mauve-door-91"


@pytest.mark.anyio
class AdapterContract:
    """
    The promises of `RealtimeProviderAdapter`, one test each, on every event loop that anyio's pytest plugin offers.

    Inherit, and say how the adapter is opened.
    """

    patience_s = 30.0
    """After which a test has failed; nothing is slept for."""

    def open_adapter(self) -> AbstractAsyncContextManager[ProviderSide]:
        """Open an adapter, and its provider's side, with no session; opened again, it is another pair."""
        # No abstract method: pytest passes over an abstract class without a word, and a contract that was never
        # checked would look like one that holds.
        raise NotImplementedError(f"{type(self).__name__} must say how its adapter is opened")

    @asynccontextmanager
    async def opened(self) -> AsyncIterator[ProviderSide]:
        with patient(self.patience_s, "what an adapter promises", type(self).__name__):
            async with self.open_adapter() as side:
                yield side

    @asynccontextmanager
    async def connected(self) -> AsyncIterator[Connected]:
        """Open an adapter with one session."""
        async with self.opened() as side:
            yield Connected(side, await connect(side))
            await side.adapter.close(SESSION, NORMAL)

    @asynccontextmanager
    async def talking(self) -> AsyncIterator[Connected]:
        """Open an adapter with one session, to which the provider says five numbers."""

        async def talk() -> None:
            for number in range(1, 6):
                await it.side.say(SESSION, number)
                for _ in range(number):
                    await anyio.lowlevel.checkpoint()

        async with self.connected() as it, anyio.create_task_group() as tasks:
            tasks.start_soon(talk)
            yield it

    async def test_it_says_what_it_is(self) -> None:
        async with self.opened() as side:
            adapter = side.adapter

            assert adapter.adapter_ref
            assert isinstance(adapter.input_format, AudioFormat | None)
            assert isinstance(adapter.output_format, AudioFormat | None)

    async def test_every_connection_has_an_id_of_its_own(self) -> None:
        async with self.connected() as it:
            second = await it.side.adapter.restart(SESSION, it.connection_id)
            third = await it.side.adapter.restart(SESSION, second.connection_id)

        assert len({it.connection_id, second.connection_id, third.connection_id}) == 3

    async def test_a_cancelled_connect_drops_what_it_opened(self) -> None:
        async def check(side: ProviderSide, outcome: Outcome[object]) -> None:
            assert outcome.ending is not Ending.RAISED, outcome.error
            assert await side.connections() == (1 if outcome.ending is Ending.RETURNED else 0)
            if outcome.ending is Ending.CANCELLED:
                await connect(side)
            await side.adapter.close(SESSION, NORMAL)

        for how in ways_to_cancel():
            await cancel_at_every_point(self.opened, connect, check, how=how)

    async def test_frames_arrive_in_the_order_in_which_they_were_sent(self) -> None:
        async with self.connected() as it:
            for number in range(1, 51):
                await it.side.adapter.send(SESSION, it.side.input_frame(number))

            assert list(await it.side.heard(SESSION, 50)) == list(range(1, 51))

    async def test_a_cancelled_send_leaves_the_wire_whole(self) -> None:
        async def send(it: Connected) -> None:
            await it.side.adapter.send(SESSION, it.side.input_frame(1))

        async def check(it: Connected, outcome: Outcome[None]) -> None:
            await it.side.adapter.send(SESSION, it.side.input_frame(2))
            heard = list(await it.side.heard(SESSION, 2))
            assert heard == [1, 2] or (heard == [2] and outcome.ending is Ending.CANCELLED)

        for how in ways_to_cancel():
            await cancel_at_every_point(self.connected, send, check, how=how)

    async def test_a_cancelled_receive_loses_nothing(self) -> None:
        async def receive(it: Connected) -> None:
            await it.receive_until(5)

        async def check(it: Connected, outcome: Outcome[None]) -> None:
            assert await it.receive_until(5) == [1, 2, 3, 4, 5]

        for how in ways_to_cancel():
            await cancel_at_every_point(self.talking, receive, check, how=how)

    async def test_a_cancelled_receive_ends_though_nothing_comes(self) -> None:
        async def receive() -> None:
            with cancelled:
                while await it.side.adapter.receive(SESSION) is not None:
                    pass
            ended.set()

        cancelled, ended = anyio.CancelScope(), anyio.Event()
        async with self.connected() as it, anyio.create_task_group() as tasks:
            tasks.start_soon(receive)
            await anyio.wait_all_tasks_blocked()
            cancelled.cancel()
            with anyio.move_on_after(self.patience_s / 2):
                await ended.wait()
            has_ended = ended.is_set()
            # One that is deaf to being cancelled ends here.
            await it.side.adapter.close(SESSION, NORMAL)

        assert has_ended, "a receive that was cancelled went on waiting: let the cancellation out of it"

    async def test_a_waiting_receive_ends_with_none_when_the_session_is_closed(self) -> None:
        ends: list[RealtimeOutputFrame | None] = []

        async def receive() -> None:
            frame = await it.side.adapter.receive(SESSION)
            while frame is not None:
                frame = await it.side.adapter.receive(SESSION)
            ends.append(frame)

        async with self.connected() as it, anyio.create_task_group() as tasks:
            tasks.start_soon(receive)
            await anyio.wait_all_tasks_blocked()
            await it.side.adapter.close(SESSION, NORMAL)

        assert ends == [None]

    @pytest.mark.parametrize("reason", list(RealtimeCloseReason))
    async def test_a_session_can_be_closed_twice_and_for_any_reason(
        self, reason: RealtimeCloseReason
    ) -> None:
        async with self.connected() as it:
            await it.side.adapter.close(SESSION, reason)
            await it.side.adapter.close(SESSION, reason)

            assert await it.side.adapter.receive(SESSION) is None
            assert await it.side.connections() == 0

    async def test_a_lost_connection_is_raised_by_every_call_until_a_restart(self) -> None:
        async with self.connected() as it:
            await it.side.drop(SESSION)

            with pytest.raises(ProviderConnectionLost):
                await it.receive_until(1)
            with pytest.raises(ProviderConnectionLost) as of_send:
                await it.side.adapter.send(SESSION, it.side.input_frame(1))
            with pytest.raises(ProviderConnectionLost):
                await it.side.adapter.interrupt(SESSION, None)
            with pytest.raises(ProviderConnectionLost):
                await it.side.adapter.receive(SESSION)
            await it.side.adapter.restart(SESSION, it.connection_id)
            await it.side.adapter.send(SESSION, it.side.input_frame(2))

            assert of_send.value.delivered is not True
            assert list(await it.side.heard(SESSION, 2)) == [2]

    async def test_a_waiting_receive_learns_that_the_connection_is_lost(self) -> None:
        async def receive() -> None:
            with pytest.raises(ProviderConnectionLost):
                await it.receive_until(1)

        async with self.connected() as it, anyio.create_task_group() as tasks:
            tasks.start_soon(receive)
            await anyio.wait_all_tasks_blocked()
            await it.side.drop(SESSION)

    async def test_a_session_whose_connection_is_lost_can_be_closed(self) -> None:
        async with self.connected() as it:
            await it.side.drop(SESSION)

            await it.side.adapter.close(SESSION, NORMAL)

            assert await it.side.adapter.receive(SESSION) is None

    async def test_what_the_old_connection_delivered_comes_first(self) -> None:
        async with self.connected() as it:
            await it.side.say(SESSION, 1)
            await it.receive_until(1)
            await it.side.say(SESSION, 2)
            await it.side.adapter.restart(SESSION, it.connection_id)
            await it.side.say(SESSION, 3)

            received = await it.receive_until(3)

            # Number 2 may have been under way when the old connection ended.
            assert received in ([1, 2, 3], [1, 3])

    async def test_a_cancelled_restart_can_be_tried_again(self) -> None:
        async def restart(it: Connected) -> None:
            response = await it.side.adapter.restart(SESSION, it.connection_id)
            it.connection_id = response.connection_id

        async def check(it: Connected, outcome: Outcome[None]) -> None:
            assert outcome.ending is not Ending.RAISED, outcome.error
            if outcome.ending is Ending.CANCELLED:
                await restart(it)
            await it.side.adapter.send(SESSION, it.side.input_frame(1))
            assert list(await it.side.heard(SESSION, 1)) == [1]
            assert await it.side.connections() == 1

        for how in ways_to_cancel():
            await cancel_at_every_point(self.connected, restart, check, how=how)

    async def test_an_interrupt_stops_the_answer(self) -> None:
        async with self.connected() as it:
            await it.side.start_answer(SESSION)
            frame = await it.side.adapter.receive(SESSION)
            while frame is None or frame.response_id is None:
                frame = await it.side.adapter.receive(SESSION)
            stopped = frame.response_id

            await it.side.adapter.interrupt(SESSION, stopped, played_ms=0)
            while frame is None or not isinstance(frame.event, ResponseDone):
                frame = await it.side.adapter.receive(SESSION)
            await it.side.say(SESSION, 1)
            following = [await it.side.adapter.receive(SESSION)]
            while following[-1] is None or it.side.number_of(following[-1]) != 1:
                following.append(await it.side.adapter.receive(SESSION))

            assert frame.response_id == stopped
            assert stopped not in {later.response_id for later in following if later}
            await it.side.adapter.send(SESSION, it.side.input_frame(2))
            assert list(await it.side.heard(SESSION, 2)) == [2], (
                "an interrupt ends the answer, and nothing else"
            )

    async def test_sessions_live_side_by_side(self) -> None:
        async with self.connected() as it:
            side = it.side
            await connect(side, OTHER_SESSION)
            await side.adapter.send(SESSION, side.input_frame(1))
            await side.adapter.send(OTHER_SESSION, side.input_frame(2))
            heard = (list(await side.heard(SESSION, 1)), list(await side.heard(OTHER_SESSION, 2)))
            await side.drop(OTHER_SESSION)
            await side.say(SESSION, 3)
            received = await it.receive_until(3)
            await side.adapter.close(OTHER_SESSION, NORMAL)

            assert heard == ([1], [2])
            assert received == [3]
            assert await side.connections() == 1

    async def test_payloads_are_in_no_repr_and_in_no_error(self) -> None:
        async with self.connected() as it:
            await it.side.adapter.send(SESSION, it.side.secret_frame(SECRET))
            shown = [repr(it.side.adapter)]
            await it.side.drop(SESSION)
            with pytest.raises(ProviderConnectionLost) as of_receive:
                await it.receive_until(1)
            with pytest.raises(ProviderConnectionLost) as of_send:
                await it.side.adapter.send(SESSION, it.side.secret_frame(SECRET))
            for error in (of_receive.value, of_send.value):
                shown += [str(error), repr(error), repr(vars(error))]

            assert SECRET not in "".join(shown)

    async def test_taking_without_waiting_keeps_the_order_of_sends(self) -> None:
        async with self.connected() as it:
            for number in range(1, 51):
                send = it.side.adapter.send if number % 3 == 0 else it.hand_over
                await send(SESSION, it.side.input_frame(number))

            assert list(await it.side.heard(SESSION, 50)) == list(range(1, 51))

    async def test_taking_without_waiting_fails_as_a_send_does(self) -> None:
        async with self.connected() as it:
            await it.side.drop(SESSION)
            with pytest.raises(ProviderConnectionLost):
                await it.receive_until(1)

            with pytest.raises(ProviderConnectionLost):
                await it.hand_over(SESSION, it.side.input_frame(1))

    async def test_giving_without_waiting_keeps_the_order_of_receives(self) -> None:
        async with self.connected() as it:
            for number in range(1, 51):
                await it.side.say(SESSION, number)
            for number in range(1, 51):
                await (it.receive_until if number % 3 == 0 else it.take_until)(number)

            assert it.received == list(range(1, 51))

    async def test_a_receive_that_is_cancelled_leaves_its_frame_to_be_given_without_waiting(self) -> None:
        async def receive(it: Connected) -> None:
            await it.take_until(5)

        async def check(it: Connected, outcome: Outcome[None]) -> None:
            assert await it.take_until(5) == [1, 2, 3, 4, 5]

        for how in ways_to_cancel():
            await cancel_at_every_point(self.talking, receive, check, how=how)

    async def test_giving_without_waiting_fails_as_a_receive_does(self) -> None:
        async with self.connected() as it:
            await it.side.drop(SESSION)
            with pytest.raises(ProviderConnectionLost):
                await it.receive_until(1)

            with pytest.raises(ProviderConnectionLost):
                await it.take_until(1)

    async def test_giving_without_waiting_gives_what_the_old_connection_delivered_first(self) -> None:
        async with self.connected() as it:
            await it.side.say(SESSION, 1)
            await it.take_until(1)
            await it.side.say(SESSION, 2)
            await it.side.adapter.restart(SESSION, it.connection_id)
            await it.side.say(SESSION, 3)

            assert await it.take_until(3) in ([1, 2, 3], [1, 3])

    async def test_the_end_is_for_receive_to_tell(self) -> None:
        async with self.connected() as it:
            await it.side.say(SESSION, 1)
            await it.side.adapter.close(SESSION, NORMAL)

            assert it.given() is None
            assert await it.side.adapter.receive(SESSION) is None
