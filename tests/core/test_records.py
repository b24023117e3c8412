"""The vocabulary of the journal: which records are results of which intents, and what an error may say."""

from __future__ import annotations

from typing import Any

import attrs
import pytest

from realtime_async._core.records import (
    INTENT_OF,
    INTENTS,
    KNOWN_PROVIDER_CODES,
    TERMINAL,
    RealtimeSessionRecord,
    RealtimeSessionRecordKind,
    RecordedError,
)
from realtime_async.errors import (
    AgentErrorKind,
    ContractViolation,
    DeadlineExceeded,
    ProviderConnectionLost,
    ProviderFailure,
    RetryClassification,
)
from realtime_async.journals import MemoryJournal
from realtime_async.ports import RunId
from realtime_async.reports import report_of
from realtime_async.testing import script_of

# Written out from the contract: intent, then its results.
EFFECTS = {
    "connect_requested": {"connected", "connect_failed"},
    "input_send_requested": {"input_sent", "input_send_failed"},
    "input_replay_requested": {"input_replayed", "input_replay_failed"},
    "output_receive_requested": {"output_received", "output_ended", "output_receive_failed"},
    "interrupt_requested": {"interrupted", "interrupt_failed"},
    "restart_started": {"restart_completed", "restart_failed"},
    "hand_over_requested": {"handed_over", "hand_over_failed"},
    "close_requested": {"closed", "close_failed"},
    "tool_call_requested": {"tool_call_completed", "tool_call_failed"},
}
NEITHER = {
    "restart_requested", "backpressure_applied", "input_dropped", "output_discarded", "output_fenced",
    "session_recovered",
}  # fmt: skip


def test_the_kinds_of_records_are_those_of_the_contract() -> None:
    results = {result for results in EFFECTS.values() for result in results}

    assert set(RealtimeSessionRecordKind) == set(EFFECTS) | results | NEITHER | {"outcome_unknown"}


def test_every_result_has_one_kind_of_intent() -> None:
    assert {str(result): str(intent) for result, intent in INTENT_OF.items()} == {
        result: intent for intent, results in EFFECTS.items() for result in results
    }
    assert set(EFFECTS) == INTENTS


def test_a_session_ends_with_its_close() -> None:
    assert {"closed", "close_failed"} == TERMINAL


def test_a_record_has_no_place_for_a_payload() -> None:
    names = {field.name for field in attrs.fields(RealtimeSessionRecord)}

    assert names.isdisjoint({"payload", "text", "instructions", "arguments", "message"})


def test_an_error_is_recorded_by_its_kind_and_its_retry() -> None:
    recorded = RecordedError.of(DeadlineExceeded("send: 10 s", retry=RetryClassification.UNKNOWN_OUTCOME))

    assert recorded == RecordedError(AgentErrorKind.DEADLINE_EXCEEDED, RetryClassification.UNKNOWN_OUTCOME)


def test_a_refusal_is_recorded_with_its_numbers() -> None:
    refusal = ProviderConnectionLost("gone", code="session_expired", close_code=1001, http_status=429)

    recorded = RecordedError.of(refusal)

    assert (recorded.kind, recorded.code) == ("provider_connection_lost", "session_expired")
    assert (recorded.close_code, recorded.http_status) == (1001, 429)


@pytest.mark.parametrize("code", ["you said: my door is mauve", "", "Invalid_API_Key"])
def test_a_code_that_is_not_known_is_not_repeated(code: str) -> None:
    recorded = RecordedError.of(ProviderFailure("refused", code=code))

    assert recorded.code == "other"


@pytest.mark.parametrize("code", sorted(KNOWN_PROVIDER_CODES))
def test_a_code_that_is_known_is_kept(code: str) -> None:
    assert RecordedError.of(ProviderFailure("refused", code=code)).code == code


def test_no_code_is_no_code() -> None:
    assert RecordedError.of(ProviderFailure("refused")).code is None


@pytest.mark.parametrize(
    "given, named",
    [
        (MemoryJournal().read(RunId("run.a")), "of type Reading"),
        (None, "None"),
        (["one"], "'one'"),
        ("records", "'r'"),
    ],
)
def test_what_are_no_records_is_refused(given: Any, named: str) -> None:
    """What `read` returns has to be awaited, and is easily given as it is."""
    for ask in (report_of, script_of):
        with pytest.raises(ContractViolation, match=f"{named}: give "):
            ask(given)
