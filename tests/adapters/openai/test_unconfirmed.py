"""What the provider was asked for and never confirms: kept for a while, and forgotten without harm."""

from __future__ import annotations

from collections.abc import Iterator

import anyio
import attrs
import pytest

from realtime_async.adapters._websocket import WebSocket
from realtime_async.adapters.openai import OpenAIRealtimeAdapter, saying
from realtime_async.adapters.openai.input_audio import InputAudio
from realtime_async.adapters.openai.session import TO_SEND
from realtime_async.adapters.openai.talk import Talk
from realtime_async.adapters.openai.updates import Updates
from realtime_async.ports import RealtimeInputFrame, StreamCursor
from tests.adapters.openai.openai_side import REQUEST, SESSION, Stubborn, open_openai_side
from tests.adapters.openai.talks import audio, config, heard, new_talk, said, say, to_send

Frame = RealtimeInputFrame
UPDATED = said("session.updated", session={})
COMMITTED = said("input_audio_buffer.committed", item_id="item_u")


def updated(talk: Talk, times: int) -> list[str]:
    """Change the configuration of *talk* that often; return the ids of the messages."""
    for number in range(times):
        saying.update(talk, attrs.evolve(talk.config, instructions=f"{number}"))
    return [message["event_id"] for message in to_send(talk)]


def turns(number: int) -> Iterator[RealtimeInputFrame]:
    """So many, of 100 ms each."""
    frames = [frame for _ in range(number) for frame in (*audio(5), Frame.end_of_turn())]
    for cursor, frame in enumerate(frames, start=1):
        yield frame.stamped(StreamCursor.chunk(cursor))


async def test_of_a_provider_that_confirms_nothing_a_bounded_number_is_awaited(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr("realtime_async.adapters.openai.session.CONFIGURED_WITHIN_S", 0.05)
    async with (
        Stubborn(is_silent=True) as server,
        OpenAIRealtimeAdapter(config(base_url=server.url, turns=None)) as adapter,
    ):
        await adapter.connect(REQUEST)
        talk = adapter._sessions.of(SESSION).talk

        for number in range(10 * Updates.UNCONFIRMED):
            await adapter.update(SESSION, attrs.evolve(talk.config, instructions=f"{number}"))
        for frame in turns(10 * InputAudio.COMMITS):
            await adapter.send(SESSION, frame)
        await server.until(lambda: server.received == 1 + 10 * Updates.UNCONFIRMED + 60 * InputAudio.COMMITS)

        assert len(talk.updates) == Updates.UNCONFIRMED
        assert len(talk.input._commits) == InputAudio.COMMITS


def test_a_change_that_is_refused_late_did_not_happen_though_others_are_forgotten() -> None:
    talk = new_talk()
    talk.is_begun = talk.is_configured = True
    ids = updated(talk, Updates.UNCONFIRMED + 3)

    heard(talk, UPDATED, UPDATED, UPDATED)
    heard(talk, said("error", error={"code": "invalid_value", "event_id": ids[3]}))

    assert talk.config.instructions == f"{Updates.UNCONFIRMED + 2}"
    heard(talk, *[said("error", error={"code": "invalid_value", "event_id": each}) for each in ids[4:]])
    assert talk.config.instructions == "2"


def test_a_change_that_is_forgotten_and_refused_is_warned_of_all_the_same() -> None:
    talk = new_talk()
    talk.is_begun = talk.is_configured = True
    ids = updated(talk, Updates.UNCONFIRMED + 1)

    [warning] = heard(talk, said("error", error={"code": "invalid_value", "event_id": ids[0]}))

    assert "invalid_value" in repr(warning)


def test_a_turn_that_is_confirmed_after_it_was_forgotten_settles_nothing_of_the_others() -> None:
    talk = new_talk(turns=None)
    say(talk, *turns(InputAudio.COMMITS + 2))

    heard(talk, COMMITTED, COMMITTED)
    settled_by_the_forgotten = talk.input.settled_through
    heard(talk, COMMITTED)

    assert settled_by_the_forgotten == 0
    assert talk.input.settled_through == 3 * 6


def test_a_new_connection_owes_nothing_of_what_the_old_one_never_confirmed() -> None:
    talk = new_talk(turns=None)
    updated(talk, Updates.UNCONFIRMED + 1)
    frames = list(turns(InputAudio.COMMITS + 1))
    say(talk, *frames)

    talk.disconnected()
    talk.reconnected()
    say(talk, *frames[:6])
    heard(talk, COMMITTED)

    assert talk.input.settled_through == 6


async def test_a_connection_that_takes_nothing_lets_nothing_add_up(monkeypatch: pytest.MonkeyPatch) -> None:
    async with open_openai_side() as side:
        adapter = side.adapter
        await adapter.connect(REQUEST)
        await adapter.send(SESSION, Frame.request_response())
        talk = adapter._sessions.of(SESSION).talk
        monkeypatch.setattr(WebSocket, "send_nowait", lambda *_: False)

        for number in range(3 * TO_SEND):
            with anyio.move_on_after(0):
                await adapter.interrupt(SESSION, None)
            with anyio.move_on_after(0):
                await adapter.update(SESSION, attrs.evolve(talk.config, instructions=f"{number}"))

        assert len(talk.to_send) == TO_SEND
