"""A turn that the program marks is begun and ended once on a connection, whatever is cancelled on the way."""

from __future__ import annotations

import json
from collections.abc import Awaitable, Callable
from typing import Any

import anyio
import pytest

from realtime_async.adapters._websocket import WebSocket
from realtime_async.adapters.gemini import GeminiLiveAdapter, TurnTaking
from realtime_async.errors import ProviderConnectionLost
from realtime_async.ports import OutputAudio, RealtimeInputFrame
from tests.adapters.gemini.talking import LONG, SESSION, Talk, speech, talk

Frame = RealtimeInputFrame
GOODBYE = "That is all."


class Room:
    """How many more messages a connection has room for; None: as many as come."""

    def __init__(self, monkeypatch: pytest.MonkeyPatch) -> None:
        self.left: int | None = None
        put = WebSocket.send_nowait

        def send_nowait(websocket: WebSocket, message: str | bytes) -> bool:
            if self.left == 0:
                return False
            if self.left is not None:
                self.left -= 1
            return put(websocket, message)

        monkeypatch.setattr(WebSocket, "send_nowait", send_nowait)


@pytest.fixture
def room(monkeypatch: pytest.MonkeyPatch) -> Room:
    return Room(monkeypatch)


def marks(it: Talk) -> list[str]:
    """What the server was told of turns, in order, with the audio between."""
    told: list[str] = []
    for message in it.server.log[-1].received:
        said: dict[str, Any] = json.loads(message).get("realtimeInput", {})
        told += [name for name in said if name != "text"]
    return told


async def marks_of_the_turn(it: Talk) -> list[str]:
    """What the server was told of turns by the end of this one, and by what is said after it."""
    await it.server.until(lambda: "activityEnd" in marks(it))
    await it.say(Frame.text(GOODBYE))
    await it.server.until(lambda: GOODBYE in repr(it.server.log[-1].received))
    return marks(it)


async def given_up(call: Callable[[], Awaitable[None]]) -> None:
    with anyio.move_on_after(0):
        await call()


@pytest.mark.parametrize("has_room_for", [0, 1, 2, None])
async def test_a_turn_is_begun_once_though_what_begins_it_is_cancelled(
    has_room_for: int | None, room: Room
) -> None:
    async with talk(turn_taking=TurnTaking.MANUAL) as it:
        room.left = has_room_for
        await given_up(lambda: it.adapter.send(SESSION, speech(1)[0]))
        room.left = None
        await it.say(*speech(2, 3), Frame.end_of_turn())

        told = await marks_of_the_turn(it)

    assert told.count("activityStart") == told.count("activityEnd") == 1
    assert told[0] == "activityStart"
    assert told.count("audio") == (2 if has_room_for in {0, 1} else 3)


@pytest.mark.parametrize("has_room_for", [0, 1, None])
async def test_a_turn_is_ended_once_though_what_ends_it_is_cancelled(
    has_room_for: int | None, room: Room
) -> None:
    async with talk(turn_taking=TurnTaking.MANUAL) as it:
        await it.say(*speech(1))
        room.left = has_room_for
        await given_up(lambda: it.adapter.send(SESSION, Frame.end_of_turn()))
        room.left = None
        await it.say(Frame.end_of_turn())

        told = await marks_of_the_turn(it)

    assert told == ["activityStart", "audio", "activityEnd"]


@pytest.mark.parametrize("has_room_for", [0, 1, None])
async def test_an_answer_is_stopped_by_one_beginning_though_stopping_it_is_cancelled(
    has_room_for: int | None, room: Room
) -> None:
    async with talk(LONG, turn_taking=TurnTaking.MANUAL) as it:
        await it.say(Frame.text("Tell me a long story."))
        await it.until(OutputAudio)
        room.left = has_room_for
        await given_up(lambda: it.adapter.interrupt(SESSION, None))
        room.left = None
        await it.adapter.interrupt(SESSION, None)
        await it.say(*speech(1), Frame.end_of_turn())

        told = await marks_of_the_turn(it)

    assert told == ["activityStart", "audio", "activityEnd"]


async def test_speech_that_waits_for_room_beside_an_interrupt_begins_no_second_turn(room: Room) -> None:
    async with talk(LONG, turn_taking=TurnTaking.MANUAL) as it:
        await it.say(Frame.text("Tell me a long story."))
        await it.until(OutputAudio)
        room.left = 0
        async with anyio.create_task_group() as tasks:
            tasks.start_soon(it.adapter.send, SESSION, speech(1)[0])
            tasks.start_soon(it.adapter.interrupt, SESSION, None)
            await anyio.wait_all_tasks_blocked()
            room.left = None
            rung(it.adapter)
        await it.say(Frame.end_of_turn())

        told = await marks_of_the_turn(it)

    assert told == ["activityStart", "audio", "activityEnd"]


async def test_speech_that_waits_through_a_restart_does_not_go_to_the_next_connection(room: Room) -> None:
    async with talk() as it:
        room.left = 0
        lost: list[ProviderConnectionLost] = []

        async def waiting() -> None:
            with pytest.raises(ProviderConnectionLost) as raised:
                await it.adapter.send(SESSION, speech(1)[0])
            lost.append(raised.value)

        async with anyio.create_task_group() as tasks:
            tasks.start_soon(waiting)
            await anyio.wait_all_tasks_blocked()
            room.left = None
            await it.restart()

        assert [each.delivered for each in lost] == [False]
        assert marks(it) == []


def rung(adapter: GeminiLiveAdapter) -> None:
    """As when the socket has taken something."""
    adapter._sessions.of(SESSION)._current().websocket._progress.ring()
