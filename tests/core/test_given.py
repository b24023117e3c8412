"""What is given from outside is what it must be, or is refused by an error that names it."""

from __future__ import annotations

import enum
from typing import Any

import pytest

from realtime_async._core.given import choice, is_number, is_text, shown, text
from realtime_async._core.records import OTHER_CODE, RecordedError
from realtime_async.errors import (
    AgentError,
    AgentErrorKind,
    ContractViolation,
    ProviderConnectionLost,
    ProviderFailure,
    RetryClassification,
)
from realtime_async.ports import (
    AudioFormat,
    DestinationRef,
    EntityRef,
    InputSignal,
    PrivacyClass,
    RealtimeInputFrame,
    RealtimeMediaKind,
    RealtimeOutputFrame,
    SourceRef,
)

HALF = "\ud800"


class _Code(enum.IntEnum):
    GONE = 1006


class _Name(enum.StrEnum):
    BUSY = "rate_limit_exceeded"


@pytest.mark.parametrize(
    "value, name",
    [
        ("near", "'near'"),
        ("x" * 100, f"'{'x' * 80}'… (100 characters)"),
        (None, "None"),
        (True, "True"),
        (1.5, "1.5"),
        (7, "7"),
        (1 << 100, "an int of 101 bits"),
        (b"what was said", "of type bytes"),
    ],
)
def test_an_error_names_a_value_in_short_whatever_it_is(value: object, name: str) -> None:
    assert shown(value) == name


@pytest.mark.parametrize("value", [0, -1, 1.5, 10**300, float("inf"), float("-inf")], ids=shown)
def test_a_number_is_what_can_be_reckoned_with(value: float) -> None:
    assert is_number(value)


@pytest.mark.parametrize("value", [True, None, "1", 1j, float("nan"), 10**400], ids=shown)
def test_what_cannot_be_reckoned_with_is_no_number(value: object) -> None:
    assert not is_number(value)


def test_a_choice_is_made_by_its_member_or_its_name() -> None:
    for given in (PrivacyClass.REDACTED_SUMMARY, "redacted_summary"):
        assert choice(PrivacyClass, given, "privacy") is PrivacyClass.REDACTED_SUMMARY


@pytest.mark.parametrize("value", ["nope", 5, None, b"x", [], HALF])
def test_what_names_no_member_is_told_which_there_are(value: object) -> None:
    with pytest.raises(ContractViolation, match=r"the privacy is .*: choose one of content_refs_only, "):
        choice(PrivacyClass, value, "privacy")


def test_text_is_what_can_be_written_down() -> None:
    assert is_text("où")
    assert type(text(_Name.BUSY, "tag")) is str
    for value in (HALF, 5, b"x", None):
        assert not is_text(value)
        with pytest.raises(ContractViolation, match=r"^the tag (is|holds) .*: give "):
            text(value, "tag")


@pytest.mark.parametrize("frame", [RealtimeInputFrame, RealtimeOutputFrame])
@pytest.mark.parametrize(
    "name, value",
    [
        ("media_kind", "nope"),
        ("privacy", "nope"),
        ("privacy", None),
        ("retention", 5),
        ("redacted_summary", 5),
        ("redacted_summary", HALF),
        ("content_refs", 5),
        ("content_refs", "a-text"),
        ("content_refs", (5,)),
        ("frame_id", 5),
    ],
)
def test_a_frame_is_not_made_of_what_no_record_can_hold(frame: Any, name: str, value: object) -> None:
    with pytest.raises(ContractViolation):
        frame(**{"media_kind": RealtimeMediaKind.TEXT, name: value})


@pytest.mark.parametrize(
    "name, value, said",
    [
        ("signal", "hang_up", "the signal is 'hang_up': choose one of request_response, "),
        ("signal", 5, "the signal is 5: choose one of"),
        ("call_id", 5, "the call_id is 5: give a str"),
        ("call_id", HALF, "the call_id holds half of a surrogate pair"),
        ("mime_type", b"image/png", "the mime_type is of type bytes: give a str"),
    ],
)
def test_an_input_frame_asks_for_nothing_that_no_adapter_can_understand(
    name: str, value: Any, said: str
) -> None:
    fields: dict[str, Any] = {"media_kind": "control", name: value}

    with pytest.raises(ContractViolation, match=said):
        RealtimeInputFrame(**fields)


def test_a_signal_may_be_given_by_its_name() -> None:
    name: Any = "request_response"

    assert (
        RealtimeInputFrame(media_kind=RealtimeMediaKind.CONTROL, signal=name).signal
        is InputSignal.REQUEST_RESPONSE
    )


@pytest.mark.parametrize("call_id", [None, 5, b"call-1"])
def test_a_tool_result_says_which_call_it_answers(call_id: Any) -> None:
    with pytest.raises(ContractViolation, match=r"the call_id is .*: give a str"):
        RealtimeInputFrame.tool_result(call_id, "booked")


@pytest.mark.parametrize("frame", [RealtimeInputFrame, RealtimeOutputFrame])
def test_a_frame_made_by_the_names_of_its_choices_has_their_members(frame: Any) -> None:
    made = frame(media_kind="text", privacy="raw_content_allowed", retention="durable", content_refs=["a"])

    assert made.media_kind is RealtimeMediaKind.TEXT
    assert made.privacy is PrivacyClass.RAW_CONTENT_ALLOWED
    assert made.content_refs == ("a",)


def test_a_summary_that_is_refused_is_not_repeated() -> None:
    with pytest.raises(ContractViolation) as refused:
        RealtimeInputFrame(media_kind="text", redacted_summary="what was said" + HALF)

    assert "said" not in str(refused.value)


@pytest.mark.parametrize("kind", [SourceRef, DestinationRef, EntityRef])
@pytest.mark.parametrize("values", [(3, "x"), ("host", 4), ("host", HALF), (None, "x")])
def test_a_reference_is_made_of_texts(kind: Any, values: tuple[object, object]) -> None:
    with pytest.raises(ContractViolation, match=f"the (kind|ref) of a {kind.__name__} "):
        kind(*values)


@pytest.mark.parametrize("values", [("mp3", 1, 1), ("pcm16", 0, 1), ("pcm16", 1, "2"), ("pcm16", 1.5, 1)])
def test_an_impossible_audio_format_is_refused(values: Any) -> None:
    with pytest.raises(ContractViolation):
        AudioFormat(*values)


@pytest.mark.parametrize(
    "given, recorded",
    [
        ({}, (None, None, None)),
        (
            {"code": _Name.BUSY, "close_code": _Code.GONE, "http_status": 429},
            ("rate_limit_exceeded", 1006, 429),
        ),
        ({"code": 5, "close_code": "1006", "http_status": "429"}, (OTHER_CODE, None, None)),
        ({"code": [], "close_code": True, "http_status": 1006.5}, (OTHER_CODE, None, None)),
        ({"code": HALF, "close_code": 10**30, "http_status": -1}, (OTHER_CODE, None, None)),
        ({"code": "", "close_code": object(), "http_status": b"x"}, (OTHER_CODE, None, None)),
    ],
)
def test_of_a_failure_only_that_is_recorded_which_is_what_it_must_be(
    given: dict[str, Any], recorded: tuple[object, ...]
) -> None:
    error = RecordedError.of(ProviderFailure("busy", **given))

    assert (error.code, error.close_code, error.http_status) == recorded
    assert [type(each) for each in recorded] == [
        type(error.code),
        type(error.close_code),
        type(error.http_status),
    ]


@pytest.mark.parametrize("value", ["nope", 5, []])
def test_an_odd_kind_or_retry_does_not_hide_the_failure_itself(value: Any) -> None:
    error = ProviderConnectionLost("gone", kind=value, retry=value)

    assert (error.kind, error.retry) == (
        AgentErrorKind.PROVIDER_CONNECTION_LOST,
        RetryClassification.RETRYABLE,
    )
    named = AgentError("x", kind="cancelled", retry="unknown_outcome")  # type: ignore[arg-type]  # names
    assert (named.kind, named.retry) == (AgentErrorKind.CANCELLED, RetryClassification.UNKNOWN_OUTCOME)
