"""What the OpenAI server does wrong when told, and when."""

from __future__ import annotations

import time

import pytest
from websockets.exceptions import ConnectionClosed, InvalidStatus

from realtime_async.testing.loopback import DropHow
from realtime_async.testing.loopback.openai import Answer, LoopbackOpenAI, Moment, OpenAIScript
from tests.testing.loopback.raw_openai import RawClient, raw_client


def told_until_the_end(client: RawClient) -> list[str]:
    """Listen until the connection is gone; return the types of what came."""
    start = len(client.events)
    with pytest.raises(ConnectionClosed):
        client.hear_on()
    return [event["type"] for event in client.events[start:]]


@pytest.mark.parametrize("how", [DropHow.END_OF_FILE, DropHow.CLOSE, DropHow.GOING_AWAY], ids=str)
def test_a_connection_ends_before_an_event(how: DropHow) -> None:
    with LoopbackOpenAI() as server, raw_client(server) as client:
        server.at("response.output_audio.delta", lambda: server.drop(how), moment=Moment.BEFORE, nth=2)
        client.configure()
        client.say("response.create")
        told = told_until_the_end(client)

    assert told.count("response.output_audio.delta") == 1


def test_a_connection_ends_after_an_event() -> None:
    with LoopbackOpenAI() as server, raw_client(server) as client:
        server.at("response.created", lambda: server.drop(DropHow.END_OF_FILE))
        client.configure()
        client.say("response.create")
        told = told_until_the_end(client)

    assert told == ["response.created"]


def test_a_connection_ends_with_the_nth_event() -> None:
    with LoopbackOpenAI() as server, raw_client(server) as client:
        server.at(4, lambda: server.drop(DropHow.END_OF_FILE))
        client.configure()
        client.say("response.create")
        told_until_the_end(client)

    assert len(client.events) == 4


def test_a_connection_ends_with_a_frame_that_was_heard() -> None:
    with LoopbackOpenAI(OpenAIScript(turns=None)) as server, raw_client(server) as client:
        server.when_heard(3, lambda: server.drop(DropHow.END_OF_FILE))
        client.configure()
        began = time.monotonic()
        client.speak(1, 2, 3)
        told_until_the_end(client)
        ended = time.monotonic()

    (told,) = server.log
    assert told.heard == [1, 2, 3]
    assert began <= told.heard_at[0] <= told.heard_at[-1] <= ended


def test_a_fault_comes_once() -> None:
    with LoopbackOpenAI() as server:
        server.at("session.created", lambda: server.drop(DropHow.END_OF_FILE))
        with raw_client(server) as client:
            told_until_the_end(client)
        with raw_client(server) as client:
            client.configure()

    assert [connection.is_configured for connection in server.log] == [False, True]


def test_a_reset_loses_what_was_not_read() -> None:
    with LoopbackOpenAI() as server, raw_client(server) as client:
        server.at("session.updated", lambda: server.drop(DropHow.RESET), moment=Moment.BEFORE)
        client.say("session.update", session={"type": "realtime"})

        assert told_until_the_end(client) == []


def test_an_event_comes_twice_or_late() -> None:
    with (
        LoopbackOpenAI(OpenAIScript(answers=[Answer("Yes", audio_ms=100)])) as server,
        raw_client(server) as client,
    ):
        client.configure()
        server.at("response.created", lambda: server.duplicate(1))
        server.at("response.output_audio.delta", lambda: server.delay(1, behind=1), moment=Moment.BEFORE)
        client.say("response.create")
        client.until("response.done")

    told = [event["type"] for event in client.events]
    assert told.count("rate_limits.updated") == 2
    assert told.index("response.output_audio.done") < told.index("response.output_audio.delta")


def test_a_stalled_server_says_nothing_and_closes_nothing() -> None:
    with LoopbackOpenAI() as server, raw_client(server) as client:
        client.configure()
        server.stall()
        client.say("response.create")
        with pytest.raises(TimeoutError):
            client.socket.recv(timeout=0.05)
        server.release()

        client.until("response.done")


def test_a_handshake_is_refused_and_the_next_is_not() -> None:
    with LoopbackOpenAI() as server:
        server.refuse(times=1, status=503)
        with pytest.raises(InvalidStatus) as refused, raw_client(server):
            pass
        with raw_client(server) as client:
            client.configure()

    assert refused.value.response.status_code == 503
    assert len(server.log) == 1


def test_a_client_is_sent_away_right_after_its_handshake() -> None:
    with LoopbackOpenAI() as server:
        server.kick(1008, "no room")
        with pytest.raises(ConnectionClosed), raw_client(server):
            pass
        with raw_client(server) as client:
            client.configure()
