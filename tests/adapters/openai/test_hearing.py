"""What servers say that differs from the book, and what becomes of it."""

from __future__ import annotations

import base64
import json
from typing import Any

import pytest

from realtime_async.adapters.openai.hearing import HEARD, IGNORED
from realtime_async.adapters.openai.refusals import REFUSALS, Weight
from realtime_async.errors import ProviderFailure, RetryClassification
from realtime_async.ports import (
    InputCommitted,
    InputTranscript,
    OutputAudio,
    OutputText,
    ProviderWarning,
    RealtimeInputFrame,
    ResponseDone,
    ResponseStarted,
    ResponseUsage,
    SpeechStarted,
    SpeechStopped,
    ToolCall,
)
from tests.adapters.openai.talks import audio, events, heard, new_talk, said, say, stamped, to_send
from tests.testing.loopback.openai_types import adapters

SECRET = "mauve-door-91"
SOUND = base64.b64encode(bytes(960)).decode()
CREATED = said("response.created", response={"id": "resp_1"})
DONE = said("response.done", response={"id": "resp_1", "status": "completed"})


def piece(kind: str, **fields: Any) -> str:
    place = {"response_id": "resp_1", "item_id": "item_1", "output_index": 0, "content_index": 0}
    return said(kind, **{**place, **fields})


def call_item(**fields: Any) -> dict[str, Any]:
    return {"id": "item_f", "type": "function_call", "call_id": "call_1", "name": "book", **fields}


def test_every_event_that_the_official_client_knows_is_known() -> None:
    assert set(adapters("server")) <= set(HEARD) | IGNORED


def test_an_unknown_event_is_counted_and_ignored() -> None:
    talk = new_talk()

    assert heard(talk, said("response.dance", steps=3), said("ping", timestamp=1)) == []
    assert talk.unknown_events == 2


def test_an_answer_may_begin_without_a_word_about_it() -> None:
    taken = heard(new_talk(), piece("response.output_audio.delta", delta=SOUND), DONE)

    assert events(taken) == [ResponseStarted(), OutputAudio("item_1"), ResponseDone("completed")]


def test_words_that_come_under_both_names_are_heard_once() -> None:
    both = [
        piece(f"response.{name}.delta", delta=word)
        for word in ("Of", " course")
        for name in ("text", "output_text")
    ]

    taken = events(heard(new_talk(), CREATED, *both))

    assert taken == [ResponseStarted(), OutputText("Of"), OutputText(" course")]


def test_what_comes_after_an_answer_is_over_is_not_heard() -> None:
    taken = heard(new_talk(), CREATED, DONE, piece("response.output_audio.delta", delta=SOUND), DONE)

    assert events(taken) == [ResponseStarted(), ResponseDone("completed")]


@pytest.mark.parametrize(
    "told",
    [
        pytest.param(
            [
                piece("response.output_item.added", item=call_item(arguments="")),
                piece("response.function_call_arguments.delta", item_id="item_f", delta='{"n"'),
                piece("response.function_call_arguments.delta", item_id="item_f", delta=": 2}"),
                piece("response.output_item.done", item=call_item(arguments='{"n": 2}', status="completed")),
                DONE,
            ],
            id="in pieces",
        ),
        pytest.param(
            [
                piece(
                    "response.function_call_arguments.done",
                    item_id="item_f",
                    call_id="call_1",
                    name="book",
                    arguments='{"n": 2}',
                ),
                DONE,
            ],
            id="only as a whole",
        ),
        pytest.param(
            [
                said(
                    "response.done",
                    response={
                        "id": "resp_1",
                        "status": "completed",
                        "output": [call_item(arguments='{"n": 2}')],
                    },
                )
            ],
            id="only at the end",
        ),
        pytest.param(
            [
                piece("response.output_item.added", item=call_item()),
                piece("response.function_call_arguments.delta", item_id="item_f", delta='{"n": 2}'),
                piece("response.function_call_arguments.done", item_id="item_f", call_id="call_1"),
                DONE,
            ],
            id="without a name or the whole",
        ),
    ],
)
def test_a_tool_call_is_made_once_however_it_is_told(told: list[str]) -> None:
    taken = events(heard(new_talk(), CREATED, *told))

    assert taken == [ResponseStarted(), ToolCall("call_1", "book", '{"n": 2}'), ResponseDone("completed")]


def test_a_tool_call_that_was_cut_off_is_not_made() -> None:
    done = piece("response.function_call_arguments.done", item_id="item_f", call_id="call_1", arguments="{}")
    cut = said(
        "response.done",
        response={"id": "resp_1", "status": "cancelled", "output": [call_item(status="incomplete")]},
    )
    item = piece("response.output_item.done", item=call_item(status="incomplete"))

    assert events(heard(new_talk(), CREATED, done, item, cut)) == [
        ResponseStarted(),
        ResponseDone("cancelled"),
    ]


def test_usage_is_told_by_modality_as_far_as_it_is_known() -> None:
    usage = {
        "total_tokens": 9,
        "input_token_details": {"text_tokens": 1, "audio_tokens": 2, "cached_tokens": 3},
        "output_token_details": {"text_tokens": 4, "audio_tokens": True},
    }
    done = said("response.done", response={"id": "resp_1", "status": "completed", "usage": usage})

    assert events(heard(new_talk(), CREATED, done))[-1] == ResponseDone(
        "completed",
        ResponseUsage(
            input_text_tokens=1,
            input_audio_tokens=2,
            cached_tokens=3,
            output_text_tokens=4,
            output_audio_tokens=None,
        ),
    )


@pytest.mark.parametrize("answers", [1, 30])
def test_a_server_that_counts_anew_on_each_connection_gives_other_answers(answers: int) -> None:
    talk = new_talk()
    ids = [f"resp_{number}" for number in range(answers)]
    messages = [
        message
        for each in ids
        for message in (
            said("response.created", response={"id": each}),
            said("response.done", response={"id": each, "status": "completed"}),
        )
    ]
    first = heard(talk, *messages)
    talk.disconnected()
    talk.reconnected()

    second = heard(talk, *messages)

    given = [frame.response_id for frame in (*first, *second)]  # type: ignore[union-attr]  # no failure is among them
    assert len(set(given)) == 2 * answers


def test_an_id_that_is_none_for_us_is_made_one() -> None:
    [started] = heard(new_talk(), said("response.created", response={"id": "resp/1 ü"}))

    assert str(started.response_id).startswith("resp-1--")  # type: ignore[union-attr]


# Positions


def test_positions_are_those_of_the_session_also_after_a_restart() -> None:
    talk = new_talk()
    say(talk, *stamped(audio(100)))
    before = events(heard(talk, said("input_audio_buffer.speech_started", audio_start_ms=1000)))
    talk.disconnected()
    kept = talk.reconnected()

    # The last two seconds again, and a second more.
    say(talk, *stamped(audio(150))[kept:])
    taken = heard(
        talk,
        said("input_audio_buffer.speech_started", audio_start_ms=1000),
        said("input_audio_buffer.speech_stopped", audio_end_ms=2500),
        said("input_audio_buffer.committed", item_id="item_1"),
    )

    assert before == [SpeechStarted(1000)]
    assert kept == 0
    assert events(taken) == [SpeechStarted(1000), SpeechStopped(2500), InputCommitted(2500)]


def test_what_was_committed_is_not_said_again() -> None:
    talk = new_talk()
    say(talk, *stamped(audio(100)))
    heard(
        talk,
        said("input_audio_buffer.speech_started", audio_start_ms=200),
        said("input_audio_buffer.speech_stopped", audio_end_ms=1000),
        said("input_audio_buffer.committed", item_id="item_1"),
    )
    talk.disconnected()
    kept = talk.reconnected()
    say(talk, *stamped(audio(50), first=kept + 1))

    taken = heard(talk, said("input_audio_buffer.speech_started", audio_start_ms=100))

    assert kept == 50
    assert events(taken) == [SpeechStarted(1100)]


# Errors


def error(code: object, **fields: Any) -> str:
    return said("error", error={"type": "invalid_request_error", "code": code, "message": SECRET, **fields})


def test_every_refusal_has_a_weight_and_none_is_a_surprise() -> None:
    by_weight = {weight: [code for code, w in REFUSALS.items() if w is weight] for weight in Weight}

    for code in by_weight[Weight.BENIGN]:
        assert heard(new_talk(), error(code)) == []
    for code in by_weight[Weight.REQUEST]:
        talk = new_talk(turns=None)
        talk.is_begun = True
        assert events(heard(talk, error(code))) == [ProviderWarning(code)]
        assert talk.ending is None
    for code in by_weight[Weight.CONNECTION]:
        talk = new_talk()
        assert heard(talk, error(code)) == []
        assert (talk.ending, talk.refused) == (code, None)
    for code in by_weight[Weight.FATAL]:
        talk = new_talk()
        assert heard(talk, error(code)) == []
        assert talk.refused is not None
        assert talk.refused.retry is RetryClassification.NOT_RETRYABLE


@pytest.mark.parametrize(
    "message, code",
    [
        (json.dumps({"type": "error", "error": SECRET, "code": "server_error"}), "server_error"),
        (said("error", error={"type": "rate_limit_exceeded"}), "rate_limit_exceeded"),
        (said("error", error=SECRET), "other_error"),
        (said("error"), "other_error"),
        (error(SECRET, type=SECRET), "other_error"),
        (error(["a", "list"], type=None), "other_error"),
    ],
)
def test_an_error_is_understood_however_it_is_said(message: str, code: str) -> None:
    talk = new_talk()
    talk.is_begun = True

    assert events(heard(talk, message)) == [ProviderWarning(code)]


def test_a_commit_that_came_too_late_is_no_news_where_the_provider_finds_the_turns() -> None:
    talk = new_talk()
    talk.is_begun = True

    assert heard(talk, error("input_audio_buffer_commit_empty")) == []


def test_a_failed_answer_says_why_first() -> None:
    details = {"type": "failed", "error": {"type": "server_error", "code": "rate_limit_exceeded"}}
    failed = said("response.done", response={"id": "resp_1", "status": "failed", "status_details": details})

    assert events(heard(new_talk(), CREATED, failed)) == [
        ResponseStarted(),
        ProviderWarning("rate_limit_exceeded"),
        ResponseDone("failed"),
    ]


# What is no message


@pytest.mark.parametrize(
    "message, name",
    [
        ("", "no JSON"),
        (b"\xff\xfe", "no JSON"),
        (f'"{SECRET}"', "no JSON"),
        ("[]", "no JSON"),
        ('{"type": 7}', "no JSON"),
        (f'{{"a": "{SECRET}"', "no JSON"),
        (said("response.created", response=SECRET), "response.created"),
        (said("response.created", response={"id": None}), "response.created"),
        (said("response.done"), "response.done"),
        (piece("response.output_audio.delta", delta=SECRET), "response.output_audio.delta"),
        (piece("response.output_audio.delta", delta="AAA="), None),
        (piece("response.output_audio.delta", delta="AAAA"), "response.output_audio.delta"),
        (piece("response.output_text.delta", delta=[SECRET]), "response.output_text.delta"),
        (said("input_audio_buffer.speech_started", audio_start_ms=SECRET), "speech_started"),
        (said("input_audio_buffer.speech_started", audio_start_ms=-1), "speech_started"),
        (said("input_audio_buffer.speech_stopped", audio_end_ms=True), "speech_stopped"),
        (said("input_audio_buffer.committed"), "input_audio_buffer.committed"),
    ],
)
def test_a_malformed_message_is_named_by_its_type_and_not_quoted(
    message: str | bytes, name: str | None
) -> None:
    failures = [each for each in heard(new_talk(), message) if isinstance(each, ProviderFailure)]

    if name is None:
        assert failures == []
        return
    [failure] = failures
    assert name in str(failure)
    assert failure.code == "malformed_event"
    assert SECRET not in f"{failure!s}{failure!r}{vars(failure)}"
    assert failure.__cause__ is None


@pytest.mark.parametrize(
    "end",
    [
        {"status": 7},
        {"status": "completed", "usage": SECRET},
        {"status": "completed", "output": [SECRET]},
        {"status": "completed", "output": [{"type": "function_call", "id": "item_1"}]},
        {"status": "failed", "status_details": SECRET},
    ],
)
def test_an_answer_whose_end_is_malformed_is_over_and_the_next_one_is_asked_for(end: dict[str, Any]) -> None:
    talk = new_talk()
    heard(talk, CREATED)
    say(talk, RealtimeInputFrame.request_response())

    done, failure = heard(talk, said("response.done", response={"id": "resp_1", **end}))

    assert events([done]) == [ResponseDone("incomplete")]
    assert isinstance(failure, ProviderFailure)
    assert [message["type"] for message in to_send(talk)] == ["response.create"]


def test_transcripts_that_fail_are_a_warning_and_those_in_pieces_are_heard() -> None:
    kind = "conversation.item.input_audio_transcription"
    taken = heard(
        new_talk(),
        said(f"{kind}.delta", item_id="item_1", delta="A ta"),
        said(f"{kind}.delta", item_id="item_1"),
        said(f"{kind}.completed", item_id="item_1", transcript="A table."),
        said(f"{kind}.failed", item_id="item_2", error={"message": SECRET}),
    )

    assert events(taken) == [
        InputTranscript("A ta"),
        InputTranscript("A table.", final=True),
        ProviderWarning("transcription_failed"),
    ]
