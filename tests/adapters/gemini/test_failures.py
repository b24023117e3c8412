"""What goes wrong with a connection, and that no error shows what was said."""

from __future__ import annotations

import logging
import traceback
from typing import Any

import anyio
import pytest

from realtime_async.adapters._websocket import End, WebSocketClosed
from realtime_async.adapters.gemini import GeminiLiveAdapter, GeminiLiveConfig
from realtime_async.adapters.gemini.failures import connection_lost
from realtime_async.errors import (
    ContractViolation,
    ProviderConnectionLost,
    ProviderFailure,
    RetryClassification,
)
from realtime_async.ports import (
    GoAway,
    RealtimeInputFrame,
    ResponseDone,
)
from realtime_async.testing.loopback import DropHow
from realtime_async.testing.loopback.gemini import GeminiScript, LoopbackGemini
from tests.adapters.gemini.gemini_side import KEY, config_for
from tests.adapters.gemini.talking import REQUEST, SECRET, talk


async def test_a_malformed_message_is_raised_in_its_place_and_the_connection_lives_on() -> None:
    async with talk() as it:
        it.server.say(f'{{"serverContent": "{SECRET}"}}')
        it.server.say('{"goAway": {}, "futureThing": 1}')
        with pytest.raises(ProviderFailure) as malformed:
            await it.hear()
        await it.until(GoAway)

    assert "serverContent" in malformed.value.message
    assert SECRET not in malformed.value.message
    assert dict(it.adapter.ignored) == {"unknown": 1}


@pytest.mark.parametrize(
    "code,reason,retry,shown",
    [
        (1000, "", "retryable", None),
        (1011, f"Internal error {SECRET}", "retryable", "internal_error"),
        (1011, "Deadline expired before operation", "retryable", "deadline_exceeded"),
        (1011, "You exceeded your current quota", "retryable", "quota_exceeded"),
        (1008, f"Policy {SECRET}", "not_retryable", "policy_violation"),
        (1008, "The client failed to close the connection after receiving a GoAway signal", "retryable", "session_expired"),
        (1007, f"Request contains {SECRET}", "not_retryable", "invalid_argument"),
        (4321, SECRET, "retryable", None),
    ],
)  # fmt: skip
async def test_the_end_of_a_connection_is_told_by_its_code_and_not_by_its_text(
    code: int, reason: str, retry: str, shown: str | None
) -> None:
    async with talk() as it:
        it.server.drop(DropHow.CLOSE, code=code, reason=reason)
        with pytest.raises(ProviderConnectionLost) as lost:
            await it.hear()

    assert (lost.value.close_code, lost.value.retry, lost.value.code) == (code, retry, shown)
    assert SECRET not in repr(vars(lost.value)) + lost.value.message
    assert lost.value.__suppress_context__


@pytest.mark.parametrize(
    "fault,shown",
    [
        (lambda server: server.refuse(times=1, status=401), "unauthenticated"),
        (lambda server: server.refuse(times=1, status=429), "rate_limit_exceeded"),
        (lambda server: server.refuse(times=1, status=500), "unavailable"),
        (lambda server: server.refuse(times=1, status=302), "invalid_request"),
        (lambda server: server.refuse(times=1, status=None), None),
        (lambda server: server.kick(1007, "API key not valid"), "invalid_api_key"),
        (lambda server: server.kick(1008, "models/x is not found for API version"), "model_not_found"),
        (lambda server: server.at(1, server.garble), "protocol_error"),
    ],
    ids=["401", "429", "500", "302", "reset", "key", "model", "garbage"],
)
async def test_a_connect_that_fails_says_why_and_can_be_tried_again(fault: Any, shown: str | None) -> None:
    with LoopbackGemini(key=KEY) as server, anyio.fail_after(20):
        async with GeminiLiveAdapter(config_for(server)) as adapter:
            fault(server)
            with pytest.raises(ProviderFailure) as refused:
                await adapter.connect(REQUEST)
            await adapter.connect(REQUEST)

    assert refused.value.code == shown or shown == "protocol_error"
    assert refused.value.__suppress_context__


async def test_a_setup_that_is_not_answered_in_time_is_given_up() -> None:
    with LoopbackGemini(GeminiScript(setup_s=30.0), key=KEY) as server, anyio.fail_after(20):
        async with GeminiLiveAdapter(config_for(server, setup_s=0.05)) as adapter:
            with pytest.raises(ProviderConnectionLost) as refused:
                await adapter.connect(REQUEST)

    assert refused.value.code == "timeout"


async def test_the_key_is_asked_for_each_connection() -> None:
    asked = 0

    async def fetch() -> str:
        nonlocal asked
        asked += 1
        return KEY

    async with talk(api_key=fetch) as it:
        await it.restart()

    assert asked == 2


@pytest.mark.parametrize("key", ["", " ", f"{SECRET}\n", "schlüssel"])
async def test_a_key_that_cannot_be_sent_is_refused_without_showing_it(key: str) -> None:
    async def fetch() -> str:
        return key

    with pytest.raises(ContractViolation) as at_once:
        GeminiLiveConfig(model="m", api_key=key)
    config = GeminiLiveConfig(model="m", api_key=fetch, base_url="ws://127.0.0.1:9")
    async with GeminiLiveAdapter(config) as adapter:
        with pytest.raises(ProviderFailure) as refused:
            await adapter.connect(REQUEST)

    assert refused.value.code == "unauthenticated"
    assert refused.value.retry is RetryClassification.NOT_RETRYABLE
    for shown in (at_once.value.message, refused.value.message):
        assert not key.strip() or key.strip() not in shown


async def test_a_key_that_cannot_be_fetched_is_a_failure_of_the_provider() -> None:
    async def fetch() -> str:
        raise LookupError(SECRET)

    async with GeminiLiveAdapter(GeminiLiveConfig(model="m", api_key=fetch)) as adapter:
        with pytest.raises(ProviderFailure) as refused:
            await adapter.connect(REQUEST)

    assert SECRET not in "".join(traceback.format_exception(refused.value))
    assert refused.value.__context__ is None
    assert "LookupError" in refused.value.message


async def test_neither_the_key_nor_what_is_said_is_logged(caplog: pytest.LogCaptureFixture) -> None:
    caplog.set_level(logging.DEBUG)

    async with talk() as it:
        await it.say(RealtimeInputFrame.text(SECRET))
        await it.until(ResponseDone)

    assert KEY not in caplog.text
    assert SECRET not in caplog.text


async def test_a_handle_outlives_an_expired_key() -> None:
    async with talk() as it:
        await it.say(RealtimeInputFrame.text("frame 1"))
        await it.until(ResponseDone)
        it.server.kick(1007, "API key expired. Please renew the API key.")
        with pytest.raises(ProviderFailure) as refused:
            await it.restart()
        kept = await it.restart()

    assert refused.value.code == "invalid_api_key"
    assert kept is not None
    assert kept.chunk_sequence == 1
    assert it.server.connections == 3


def test_what_was_garbled_on_the_way_may_come_whole_on_another_connection() -> None:
    closed = WebSocketClosed("closed", code=1007, end=End.GARBLED, reason="", before_written=False)

    assert connection_lost(closed).retry is RetryClassification.RETRYABLE
