"""Server messages that are odd, malformed, or made up."""

from __future__ import annotations

import json
from typing import Any

import hypothesis.strategies as st
import pytest
from hypothesis import given, settings

from realtime_async.adapters.gemini.turns import LONGEST_TEXT, Turns
from realtime_async.adapters.gemini.wire import read_message
from realtime_async.errors import ProviderFailure
from realtime_async.ports import (
    GoAway,
    InputTranscript,
    OutputAudio,
    RealtimeOutputFrame,
    RealtimeResponseId,
    ResponseDone,
    ResponseStarted,
    ToolCall,
)
from tests.adapters.gemini.official import check_server
from tests.adapters.gemini.reading import GOLDEN, frames_of, new_turns, wire_messages

SECRET = "mauve-door-91"

MALFORMED: dict[str, list[str]] = {
    "not JSON": ["", "{", f"{SECRET}", "[" * 100_000, '{"goAway": NaN}', "\ud800"],
    "not an object": ["[]", f'"{SECRET}"', "1", "null"],
    "setupComplete": ['{"setupComplete": true}'],
    "serverContent": [
        f'{{"serverContent": "{SECRET}"}}',
        f'{{"serverContent": {{"interrupted": "{SECRET}"}}}}',
        f'{{"serverContent": {{"modelTurn": {{"parts": {{"text": "{SECRET}"}}}}}}}}',
        f'{{"serverContent": {{"modelTurn": {{"parts": ["{SECRET}"]}}}}}}',
        '{"serverContent": {"modelTurn": {"parts": [{"text": 7}]}}}',
        '{"serverContent": {"modelTurn": {"parts": [{"inlineData": {"mimeType": "audio/pcm", "data": "%"}}]}}}',
        '{"serverContent": {"modelTurn": {"parts": [{"inlineData": {"mimeType": "audio/pcm", "data": "AAAA"}}]}}}',
        '{"serverContent": {"modelTurn": {"parts": [{"inlineData": {"mimeType": "audio/pcm;rate=8000", "data": "AAA="}}]}}}',
        '{"serverContent": {"modelTurn": {"parts": [{"inlineData": {"mimeType": "audio/opus", "data": "AAA="}}]}}}',
        '{"serverContent": {"outputTranscription": []}}',
        '{"serverContent": {"turnCompleteReason": 3}}',
    ],
    "toolCall": [
        '{"toolCall": {"functionCalls": [{"name": "weather"}]}}',
        '{"toolCall": {"functionCalls": [{"id": "1", "name": ""}]}}',
        f'{{"toolCall": {{"functionCalls": [{{"id": "1", "name": "x", "args": "{SECRET}"}}]}}}}',
        '{"toolCall": {"functionCalls": [{"id": "1", "name": "x", "args": {"a": 1e999}}]}}',
    ],
    "toolCallCancellation": ['{"toolCallCancellation": {"ids": [1]}}', '{"toolCallCancellation": {"ids": "1"}}'],
    "usageMetadata": [
        '{"usageMetadata": {"cachedContentTokenCount": "many"}}',
        '{"usageMetadata": {"cachedContentTokenCount": true}}',
        '{"usageMetadata": {"promptTokensDetails": [{"modality": "AUDIO", "tokenCount": 1.5}]}}',
    ],
    "goAway": ['{"goAway": {"timeLeft": 50}}', f'{{"goAway": {{"timeLeft": "{SECRET}s"}}}}'],
    "sessionResumptionUpdate": ['{"sessionResumptionUpdate": {"newHandle": 1, "resumable": true}}'],
    "voiceActivity": ['{"voiceActivity": {"type": 1}}'],
}  # fmt: skip


@pytest.mark.parametrize(
    "name,message", [(name, message) for name, messages in MALFORMED.items() for message in messages]
)
def test_a_malformed_message_is_refused_by_its_type_and_without_its_content(name: str, message: str) -> None:
    with pytest.raises(ProviderFailure) as refused:
        read_message(message)

    assert repr(name) in refused.value.message
    assert refused.value.code == "protocol_error"
    assert refused.value.__cause__ is None
    assert refused.value.__suppress_context__ or refused.value.__context__ is None
    assert SECRET not in repr(vars(refused.value)) + str(refused.value)


def test_what_is_not_known_is_named_and_left_out() -> None:
    message = read_message(
        '{"futureThing": {"a": 1}, "serverContent": {"groundingMetadata": {"x": 1}, "newFlag": true,'
        '"modelTurn": {"parts": [{"thought": true, "text": "hm"}, {"inlineData": {"mimeType": "image/png", "data": "%"}}]}},'
        '"goAway": {}, "voiceActivity": {"type": "ACTIVITY_SIDEWAYS"}}'
    )

    assert sorted(message.ignored) == [
        "serverContent.groundingMetadata",
        "serverContent.modelTurn.parts.inlineData.data",
        "serverContent.modelTurn.parts.thought",
        "unknown",
    ]
    assert message.go_away == GoAway(None)
    assert message.voice is None
    assert message.content is not None
    assert message.content.parts == ()


def test_a_null_says_as_much_as_a_field_that_is_not_there() -> None:
    assert read_message('{"serverContent": null, "goAway": null}') == read_message("{}")


@pytest.mark.parametrize("data", ["__79_A==", "//79/A==", "__79_A", "//79/A"])
def test_audio_is_read_in_either_alphabet_padded_or_not(data: str) -> None:
    part = {"inlineData": {"mimeType": "audio/pcm;rate=24000", "data": data}}

    message = read_message(json.dumps({"serverContent": {"modelTurn": {"parts": [part]}}}))

    assert message.content is not None
    assert message.content.parts == (b"\xff\xfe\xfd\xfc",)


def test_counts_of_64_bits_come_as_strings_and_modalities_add_up() -> None:
    message = read_message(
        '{"usageMetadata": {"cachedContentTokenCount": "12", "candidatesTokensDetails":'
        '[{"modality": "AUDIO", "tokenCount": "3"}, {"modality": "AUDIO", "tokenCount": 4}, {"modality": "VIDEO"}]}}'
    )

    assert message.usage is not None
    assert message.usage.cached_tokens == 12
    assert message.usage.output_audio_tokens == 7
    assert message.usage.input_text_tokens is None


def test_the_usage_of_an_answer_is_the_last_count_of_it_and_never_the_sum() -> None:
    def told(count: int) -> dict[str, Any]:
        return {"usageMetadata": {"responseTokensDetails": [{"modality": "AUDIO", "tokenCount": count}]}}

    speaks = {"serverContent": {"modelTurn": {"parts": [{"text": "So"}]}}}
    done = {"serverContent": {"turnComplete": True}}

    frames = frames_of(
        [told(99), speaks, told(5), told(9), done, told(50), speaks, told(2), done, speaks, done]
    )

    usages = [frame.event.usage for frame in frames if isinstance(frame.event, ResponseDone)]
    assert [usage and usage.output_audio_tokens for usage in usages] == [9, 2, None]


def test_a_malformed_message_has_no_effect_at_all() -> None:
    turns = new_turns()
    broken = {
        "serverContent": {"modelTurn": {"parts": [{"text": "So"}]}},
        "toolCall": {"functionCalls": [{}]},
    }

    with pytest.raises(ProviderFailure):
        frames_of([broken], turns)

    assert turns.current is None
    assert [type(frame.event) for frame in frames_of([wire_messages("spoken_answer")[1]], turns)] == [
        InputTranscript
    ]


def test_a_transcript_without_end_is_told_in_pieces_of_a_bounded_length() -> None:
    piece = {"serverContent": {"inputTranscription": {"text": "la " * 10_000}}}

    finals = [
        frame.event.text
        for frame in frames_of([piece] * 8)
        if isinstance(frame.event, InputTranscript) and frame.event.final
    ]

    assert [len(text) for text in finals] == [120_000, 120_000]
    assert len(finals[0]) < LONGEST_TEXT + 30_000


def test_arguments_and_samples_arrive_as_they_were_sent() -> None:
    frames = frames_of(wire_messages("function_calls"))

    (call, _) = [frame.event for frame in frames if isinstance(frame.event, ToolCall)]
    (audio,) = [frame.payload for frame in frames if isinstance(frame.event, OutputAudio)]
    assert json.loads(call.arguments) == {"some_city": "Rome"}
    assert call.call_id == "call 1"
    assert audio == bytes.fromhex("00000100feff0200")


@pytest.mark.parametrize("path", sorted(GOLDEN.glob("*.jsonl")), ids=lambda path: path.stem)
def test_the_recorded_messages_pass_the_official_types(path: Any) -> None:
    for line in path.read_text(encoding="utf-8").splitlines():
        check_server(line)


NAMES = st.sampled_from(
    sorted(
        {"serverContent", "toolCall", "toolCallCancellation", "usageMetadata", "goAway", "sessionResumptionUpdate",
         "voiceActivity", "setupComplete", "modelTurn", "parts", "inlineData", "data", "mimeType", "text", "thought",
         "interrupted", "turnComplete", "generationComplete", "interactionStatus", "turnCompleteReason", "type",
         "inputTranscription", "outputTranscription", "finished", "functionCalls", "id", "name", "args", "ids",
         "timeLeft", "newHandle", "resumable", "promptTokensDetails", "modality", "tokenCount"}
    )
)  # fmt: skip
LEAVES = st.one_of(
    st.none(), st.booleans(), st.integers(), st.floats(), st.just(SECRET),
    st.sampled_from(["AAA=", "audio/pcm;rate=24000", "IDLE", "IN_PROGRESS", "ACTIVITY_START", "50s", "call-1"]),
)  # fmt: skip
VALUES = st.recursive(
    LEAVES,
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(NAMES, inner, max_size=4),
    max_leaves=12,
)
GOLDEN_LINES = [line for path in sorted(GOLDEN.glob("*.jsonl")) for line in path.read_text().splitlines()]


@st.composite
def mutated(draw: st.DrawFn) -> str:
    """A recorded message with one value replaced."""
    message = json.loads(draw(st.sampled_from(GOLDEN_LINES)))
    place: Any = message
    while True:
        keys: list[Any] = list(place) if isinstance(place, dict) else list(range(len(place)))
        if not keys:
            return json.dumps(message)
        key = draw(st.sampled_from(keys))
        if not isinstance(place[key], dict | list) or draw(st.booleans()):
            place[key] = draw(VALUES)
            return json.dumps(message)
        place = place[key]


MADE_UP = st.one_of(
    mutated(),
    st.dictionaries(NAMES, VALUES, max_size=4).map(json.dumps),
    st.sampled_from(GOLDEN_LINES),
    st.binary(max_size=40),
    st.text(max_size=40),
)


def read(message: str | bytes, turns: Turns) -> list[RealtimeOutputFrame]:
    """The frames of *message*; of one that is refused, none."""
    refused: ProviderFailure | None = None
    frames: list[RealtimeOutputFrame] = []
    try:
        frames = frames_of([message], turns)
    except ProviderFailure as error:
        refused = error
    assert SECRET not in f"{refused} {vars(refused) if refused else None}"
    return frames


@given(messages=st.lists(MADE_UP, max_size=8))
@settings(max_examples=100)
def test_whatever_comes_is_frames_or_a_refusal_without_content(messages: list[str | bytes]) -> None:
    turns = new_turns()
    given: RealtimeResponseId | None = None

    for message in messages:
        for frame in read(message, turns):
            if isinstance(frame.event, ResponseStarted):
                assert given is None, "an answer began inside another"
                given = frame.response_id
            if isinstance(frame.event, ResponseDone):
                assert frame.response_id == given
                given = None
    left = [frame.response_id for frame in turns.connection_ended() if isinstance(frame.event, ResponseDone)]

    assert left == ([] if given is None else [given])
    assert turns.connection_ended() == []
