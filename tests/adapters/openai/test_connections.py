"""Connections that are refused, that end, and that are changed while they live."""

from __future__ import annotations

import time
import traceback
from collections.abc import Callable

import anyio
import attrs
import pytest

from realtime_async import RealtimeSessionSidecar, open_session
from realtime_async.adapters._websocket import open_websocket
from realtime_async.adapters.openai import OpenAIRealtimeAdapter
from realtime_async.adapters.openai.adapter import LIMITS
from realtime_async.adapters.openai.refusals import PASSING, REFUSALS, Weight
from realtime_async.adapters.openai.session import Session
from realtime_async.errors import (
    ContractViolation,
    ProviderConnectionLost,
    ProviderFailure,
    RestartExhausted,
    RetryClassification,
    SessionStateError,
)
from realtime_async.journals import MemoryJournal
from realtime_async.ports import (
    GoAway,
    RealtimeCloseReason,
    RealtimeInputFrame,
    RecordedError,
    ResponseDone,
)
from realtime_async.testing.loopback import DropHow, LoopbackServer, Peer
from realtime_async.testing.loopback.openai import LoopbackOpenAI, OpenAIScript
from tests.adapters.openai.openai_side import (
    ASK,
    REQUEST,
    SESSION,
    OpenAISide,
    Stubborn,
    config_for,
    open_openai_side,
    until,
)
from tests.adapters.openai.talks import audio, config, new_talk
from tests.testing.loopback.openai_types import misfits


@pytest.mark.parametrize(
    "status, retry",
    [
        (401, RetryClassification.NOT_RETRYABLE),
        (404, RetryClassification.NOT_RETRYABLE),
        (429, RetryClassification.RETRYABLE),
        (503, RetryClassification.RETRYABLE),
    ],
)
async def test_a_refused_handshake_says_whether_another_can_help(
    status: int, retry: RetryClassification
) -> None:
    async with LoopbackOpenAI() as server, OpenAIRealtimeAdapter(config_for(server)) as adapter:
        server.refuse(times=1, status=status)

        with pytest.raises(ProviderFailure) as refused:
            await adapter.connect(REQUEST)

        assert not isinstance(refused.value, ProviderConnectionLost)
        assert (refused.value.http_status, refused.value.retry) == (status, retry)
        await adapter.connect(REQUEST)


async def test_a_wrong_key_is_refused_and_not_shown() -> None:
    async with (
        LoopbackOpenAI() as server,
        OpenAIRealtimeAdapter(config_for(server, api_key="sk-wrong-91")) as adapter,
    ):
        with pytest.raises(ProviderFailure) as refused:
            await adapter.connect(REQUEST)

    shown, cause = "", refused.value
    while cause is not None:
        shown += f"{cause!s}{cause!r}{vars(cause)}"
        cause = cause.__cause__ or cause.__context__  # type: ignore[assignment]  # the chain ends somewhere
    assert "sk-wrong-91" not in shown


async def test_where_nobody_listens_the_connection_is_lost() -> None:
    async with LoopbackOpenAI() as server:
        gone = config_for(server)
    async with OpenAIRealtimeAdapter(gone) as adapter:
        with pytest.raises(ProviderConnectionLost) as lost:
            await adapter.connect(REQUEST)

    assert lost.value.delivered is False


@pytest.mark.parametrize("code, retry", [(1008, "not_retryable"), (1013, "retryable")])
async def test_whoever_notices_the_end_first_says_whether_another_connection_can_help(
    code: int, retry: str
) -> None:
    async with open_openai_side() as side:
        await side.adapter.connect(REQUEST)
        side.server.drop(DropHow.CLOSE, code=code, reason="mauve-door-91")
        while not next(iter(side.adapter._sessions)).line.is_closed:
            await anyio.lowlevel.checkpoint()

        with pytest.raises(ProviderConnectionLost) as of_send:
            await side.adapter.send(SESSION, audio()[0])
        with pytest.raises(ProviderConnectionLost) as of_receive:
            await until(side.adapter, ResponseDone)

    for lost in (of_send.value, of_receive.value):
        assert (lost.close_code, lost.retry) == (code, retry)
        assert "mauve" not in "".join(traceback.format_exception(lost))


@pytest.mark.parametrize(
    "fault, retry",
    [
        (lambda server: server.garble(), "retryable"),
        (lambda server: server.oversize(LIMITS.max_message_bytes + 1), "not_retryable"),
    ],
    ids=["garbled", "too large"],
)
async def test_what_was_garbled_on_the_way_may_come_whole_on_another_connection(
    fault: Callable[[LoopbackOpenAI], None], retry: str
) -> None:
    async with open_openai_side() as side:
        await side.adapter.connect(REQUEST)
        fault(side.server)

        with pytest.raises(ProviderConnectionLost) as lost:
            await until(side.adapter, ResponseDone)

    assert lost.value.retry == retry


@pytest.mark.parametrize("code, retry", [(1008, "not_retryable"), (1013, "retryable")])
async def test_a_connection_that_is_closed_at_once_is_lost(code: int, retry: str) -> None:
    async with LoopbackOpenAI() as server, OpenAIRealtimeAdapter(config_for(server)) as adapter:
        server.kick(code)

        with pytest.raises(ProviderConnectionLost) as lost:
            await adapter.connect(REQUEST)

        assert (lost.value.close_code, lost.value.retry) == (code, retry)


class Unwelcoming(LoopbackServer):
    """Refuses in place of its first word."""

    def __init__(self, code: str) -> None:
        super().__init__()
        self.code = code

    async def handle(self, peer: Peer) -> None:
        await peer.send_json({"type": "error", "error": {"type": self.code, "message": "no"}})
        await peer.close(1008)


@pytest.mark.parametrize(
    "code, retry",
    [
        ("rate_limit_exceeded", "retryable"),
        ("server_error", "retryable"),
        ("session_limit_reached", "retryable"),
        ("model_load_error", "not_retryable"),
        ("unheard_of", "not_retryable"),
    ],
)
async def test_a_server_that_refuses_in_place_of_its_first_word_says_whether_another_can_help(
    code: str, retry: str
) -> None:
    async with Unwelcoming(code) as server, OpenAIRealtimeAdapter(config(base_url=server.url)) as adapter:
        with pytest.raises(ProviderFailure) as refused:
            await adapter.connect(REQUEST)

    assert refused.value.retry == retry


async def test_a_configuration_that_is_refused_refuses_the_session() -> None:
    async with (
        Stubborn(is_silent=False) as server,
        OpenAIRealtimeAdapter(config(base_url=server.url)) as adapter,
    ):
        with pytest.raises(ProviderFailure) as refused:
            await adapter.connect(REQUEST)

        assert (refused.value.code, refused.value.retry) == ("invalid_value", "not_retryable")
        assert "secret" not in str(refused.value)
        await server.until(lambda: not server.peers)


async def test_a_server_that_confirms_nothing_is_served_all_the_same(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("realtime_async.adapters.openai.session.CONFIGURED_WITHIN_S", 0.05)
    async with (
        Stubborn(is_silent=True) as server,
        OpenAIRealtimeAdapter(config(base_url=server.url)) as adapter,
    ):
        await adapter.connect(REQUEST)
        await adapter.send(SESSION, RealtimeInputFrame.text("A table."))
        await server.until(lambda: server.received == 2)


async def test_a_fatal_error_ends_the_connection_and_says_why() -> None:
    async with open_openai_side() as side:
        await side.adapter.connect(REQUEST)
        side.server.say('{"type": "error", "error": {"code": "insufficient_quota", "message": "secret"}}')

        with pytest.raises(ProviderFailure) as refused:
            await side.adapter.receive(SESSION)
        with pytest.raises(ProviderConnectionLost) as lost:
            await side.adapter.receive(SESSION)

        assert refused.value.retry is lost.value.retry is RetryClassification.NOT_RETRYABLE
        assert refused.value.code == lost.value.code == "insufficient_quota"


async def refused_for_good(side: OpenAISide) -> None:
    """Serve a session that the provider ends with a fatal error, and go on listening."""
    sidecar = RealtimeSessionSidecar.voice_defaults("front-desk")
    async with open_session(sidecar, side.adapter, MemoryJournal(), run_id="call") as session:
        side.server.say('{"type": "error", "error": {"code": "invalid_api_key", "message": "secret"}}')
        with pytest.raises(ProviderFailure, match="invalid_api_key"):
            await anext(session.frames())
        # Served by another connection, it would have nothing more to hear.
        with anyio.fail_after(20):
            async for _ in session.frames():
                pass


async def test_a_session_that_the_provider_refuses_for_good_ends_without_another_dial() -> None:
    async with open_openai_side() as side:
        with pytest.raises(RestartExhausted, match="could not be replaced") as ended:
            await refused_for_good(side)

        assert len(side.server.log) == 1
        assert "after 0 attempt(s)" in str(ended.value.__cause__)
        assert "code 'invalid_api_key'" in str(ended.value.__cause__)


async def test_a_session_that_has_expired_can_be_restarted() -> None:
    # Long enough to say something on each, however busy the machine is.
    async with (
        LoopbackOpenAI(OpenAIScript(session_s=1.5)) as server,
        OpenAIRealtimeAdapter(config_for(server, go_away_before_s=0)) as adapter,
    ):
        response = await adapter.connect(REQUEST)
        await adapter.send(SESSION, RealtimeInputFrame.text("A table."))
        with pytest.raises(ProviderConnectionLost):
            await until(adapter, ResponseDone)

        await adapter.restart(SESSION, response.connection_id)
        await adapter.send(SESSION, ASK)

        done = await until(adapter, ResponseDone)

        assert isinstance(done, ResponseDone)
        assert done.status == "completed"
        assert len(server.log[1].items) == 2


async def test_the_end_of_a_connection_is_announced_once_per_connection() -> None:
    async with open_openai_side(connection_lifetime_s=60.05, go_away_before_s=60.0) as side:
        response = await side.adapter.connect(REQUEST)

        first = await until(side.adapter, GoAway)
        await side.adapter.restart(SESSION, response.connection_id)
        second = await until(side.adapter, GoAway)

        for event in (first, second):
            assert isinstance(event, GoAway)
            assert event.time_left_s is not None
            assert 55 < event.time_left_s <= 60


async def test_the_end_of_a_connection_is_announced_though_the_provider_never_pauses() -> None:
    async with open_openai_side(connection_lifetime_s=60.05, go_away_before_s=60.0) as side:
        await side.adapter.connect(REQUEST)
        for number in range(1, 4):
            await side.say(SESSION, number)
        line = side.adapter._sessions.of(SESSION).line
        while not line._is_reminded:
            await line.arrival()

        first = await side.adapter.receive(SESSION)

        assert first is not None
        assert isinstance(first.event, GoAway)


async def test_the_provider_may_know_better_when_a_connection_ends() -> None:
    async with (
        LoopbackOpenAI(OpenAIScript(session_s=30.0)) as server,
        OpenAIRealtimeAdapter(config_for(server)) as adapter,
    ):
        await adapter.connect(REQUEST)

        event = await until(adapter, GoAway)

        assert isinstance(event, GoAway)
        assert event.time_left_s is not None
        assert event.time_left_s <= 30


async def test_a_connection_is_not_left_at_once_where_the_clocks_differ() -> None:
    def begun(expires_at: float) -> float:
        talk = new_talk(connection_lifetime_s=60.0, go_away_before_s=10.0)
        talk.expires_at = expires_at
        return Session(talk, line)._ends_at - line.opened_at

    async with LoopbackServer() as server, anyio.create_task_group() as tasks:
        line = await open_websocket(tasks, server.url)
        lives = [begun(time.time() + left_s) for left_s in (-3600, 30, 3600)]
        line.abort()

    assert lives == [60.0, pytest.approx(30, abs=1), 60.0]


async def test_a_changed_configuration_holds_on_the_next_connection_too() -> None:
    async with open_openai_side() as side:
        response = await side.adapter.connect(REQUEST)
        changed = attrs.evolve(config_for(side.server), instructions="Be brief.", turns=None)

        await side.adapter.update(SESSION, changed)
        await side.server.until(lambda: "Be brief." in repr(side.server.log[0].session))
        await side.adapter.restart(SESSION, response.connection_id)

        for log in side.server.log:
            assert log.session.get("instructions") == "Be brief."
            assert log.session["audio"]["input"]["turn_detection"] is None
            assert misfits(log.received, "client") == []


async def test_an_adapter_that_is_not_open_and_a_session_that_is_not_connected_say_so() -> None:
    async with LoopbackOpenAI() as server:
        adapter = OpenAIRealtimeAdapter(config_for(server))
        with pytest.raises(ContractViolation, match="async with"):
            await adapter.connect(REQUEST)
        async with adapter:
            with pytest.raises(SessionStateError, match="connect it first"):
                await adapter.receive(SESSION)
            await adapter.close(SESSION, RealtimeCloseReason.NORMAL)


async def test_a_session_that_is_connected_again_has_one_connection() -> None:
    async with open_openai_side() as side:
        await side.adapter.connect(REQUEST)
        await side.adapter.connect(REQUEST)

        assert await side.connections() == 1


@pytest.mark.parametrize("how", list(DropHow))
async def test_any_end_that_nobody_asked_for_is_a_lost_connection(how: DropHow) -> None:
    async with open_openai_side() as side:
        await side.adapter.connect(REQUEST)
        side.server.drop(how)

        with pytest.raises(ProviderConnectionLost):
            await side.adapter.receive(SESSION)


OF_A_CONNECTION = {
    *(code for code, weight in REFUSALS.items() if weight in {Weight.CONNECTION, Weight.FATAL}),
    *PASSING,
    "handshake_refused", "malformed_event", "no_api_key", "too_many_requests", "unsupported_frame",
}  # fmt: skip


@pytest.mark.parametrize("code", sorted(OF_A_CONNECTION))
def test_why_a_connection_could_not_be_used_can_be_read_from_the_records(code: str) -> None:
    assert RecordedError.of(ProviderFailure("refused", code=code)).code == code
