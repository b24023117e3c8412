"""Frames carry what they were given, show none of it, and know what they are."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import attrs
import pytest
from hypothesis import given
from hypothesis import strategies as st

from realtime_async import ports
from realtime_async._core import frames
from realtime_async._core.cursors import StreamCursor
from realtime_async._core.events import (
    GoAway,
    InputCommitted,
    InputTranscript,
    OutputAudio,
    OutputText,
    OutputTranscript,
    ProviderWarning,
    RealtimeEvent,
    ResponseDone,
    ResponseStarted,
    Restarted,
    SpeechStarted,
    SpeechStopped,
    ToolCall,
    ToolCallCancelled,
)
from realtime_async._core.frames import InputSignal, RealtimeInputFrame, RealtimeOutputFrame
from realtime_async._core.identifiers import RealtimeFrameId, RealtimeResponseId
from realtime_async._core.media import AudioEncoding, AudioFormat, RealtimeMediaKind
from realtime_async.errors import ContractViolation, InvalidIdentifier

SECRET = "the colour of my door is mauve"


INPUTS: dict[str, tuple[Callable[[], RealtimeInputFrame], str, bool]] = {
    "audio": (lambda: RealtimeInputFrame.audio(SECRET.encode()), "audio", False),
    "text": (lambda: RealtimeInputFrame.text(SECRET), "text", True),
    "image": (lambda: RealtimeInputFrame.image(SECRET.encode()), "image", True),
    "video": (lambda: RealtimeInputFrame.video(SECRET.encode()), "video", False),
    "tool result": (lambda: RealtimeInputFrame.tool_result("call-1", SECRET), "tool_result", True),
    "request": (lambda: RealtimeInputFrame.request_response(SECRET), "control", True),
    "end of turn": (RealtimeInputFrame.end_of_turn, "control", True),
    "clear input": (RealtimeInputFrame.clear_input, "control", True),
    "reference": (
        lambda: RealtimeInputFrame.media_ref(RealtimeMediaKind.IMAGE, "blob:1", "a map"),
        "image",
        True,
    ),
    "audio reference": (
        lambda: RealtimeInputFrame.media_ref(RealtimeMediaKind.AUDIO, "blob:2"),
        "audio",
        False,
    ),
}


@pytest.mark.parametrize("name", INPUTS)
def test_an_input_frame_knows_its_kind_and_whether_it_may_be_dropped(name: str) -> None:
    build, kind, critical = INPUTS[name]

    frame = build()

    assert (frame.media_kind, frame.critical) == (kind, critical)
    assert frame.cursor is None


@pytest.mark.parametrize("name", INPUTS)
def test_a_repr_shows_no_payload(name: str) -> None:
    build, _, _ = INPUTS[name]

    shown = repr(build())

    assert SECRET not in shown
    assert "mauve" not in shown


@pytest.mark.parametrize(
    "event",
    [
        OutputText(SECRET),
        OutputTranscript(SECRET),
        InputTranscript(SECRET),
        ToolCall("call-1", "paint", SECRET),
    ],
    ids=lambda event: type(event).__name__,
)
def test_a_repr_shows_nothing_of_what_was_said(event: RealtimeEvent) -> None:
    frame = RealtimeOutputFrame.of(event, payload=SECRET)

    assert "mauve" not in repr(frame)


def test_every_frame_has_an_id_of_its_own() -> None:
    ids = {RealtimeInputFrame.text("x").frame_id for _ in range(100)}
    ids |= {RealtimeOutputFrame.audio(b"").frame_id for _ in range(100)}

    assert len(ids) == 200
    assert {type(each) for each in ids} == {RealtimeFrameId}


def test_a_given_frame_id_is_kept_and_checked() -> None:
    assert RealtimeInputFrame.audio(b"", frame_id="mine").frame_id == "mine"
    with pytest.raises(InvalidIdentifier):
        RealtimeInputFrame.audio(b"", frame_id="not mine")


def test_the_core_itself_draws_no_frame_ids(monkeypatch: pytest.MonkeyPatch) -> None:
    """The shell installs the source."""
    monkeypatch.setattr(frames, "_draw_frame_id", frames._no_source)

    with pytest.raises(AssertionError, match="installs the source of frame ids"):
        RealtimeInputFrame.text("x")


def test_the_source_of_frame_ids_can_be_replaced(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(frames, "_draw_frame_id", frames._draw_frame_id)

    frames.install_frame_ids(lambda: RealtimeFrameId("frame.fixed"))

    assert RealtimeInputFrame.text("x").frame_id == "frame.fixed"


@given(samples=st.integers(0, 2000), more=st.integers(1, 1))
def test_audio_that_ends_inside_a_sample_is_refused(samples: int, more: int) -> None:
    RealtimeInputFrame.audio(bytes(2 * samples))
    with pytest.raises(ContractViolation, match="samples"):
        RealtimeInputFrame.audio(bytes(2 * samples + more))


def test_a_sample_is_one_of_all_channels() -> None:
    stereo = AudioFormat(sample_rate=48_000, channels=2)

    assert RealtimeInputFrame.audio(bytes(4), audio_format=stereo).audio_format == stereo
    with pytest.raises(ContractViolation):
        RealtimeInputFrame.audio(bytes(6), audio_format=stereo)


@pytest.mark.parametrize("encoding", ["g711_ulaw", "g711_alaw"])
def test_telephone_audio_may_have_an_odd_length(encoding: str) -> None:
    telephone = AudioFormat(AudioEncoding(encoding), sample_rate=8_000)

    assert RealtimeInputFrame.audio(bytes(161), audio_format=telephone).payload_bytes() == 161


def test_who_states_no_format_is_told_how_to_state_that_of_a_telephone() -> None:
    with pytest.raises(ContractViolation, match=r"161 bytes of pcm16 .* audio_format=adapter\.input_format"):
        RealtimeInputFrame.audio(bytes(161))


def test_who_states_pcm16_is_told_to_cut_it_elsewhere() -> None:
    with pytest.raises(ContractViolation, match=r"of 2 bytes: cut the audio between samples$"):
        RealtimeInputFrame.audio(bytes(161), audio_format=AudioFormat())


@pytest.mark.parametrize("odd", ["g711_ulaw", 8000, {"encoding": "g711_ulaw"}], ids=str)
def test_a_name_is_no_audio_format(odd: Any) -> None:
    with pytest.raises(ContractViolation, match=r"audio_format is .*: give an AudioFormat, such as"):
        RealtimeInputFrame.audio(bytes(160), audio_format=odd)


@pytest.mark.parametrize("rate, channels", [(0, 1), (24_000, 0), (-1, -1)])
def test_an_impossible_audio_format_is_refused(rate: int, channels: int) -> None:
    with pytest.raises(ContractViolation, match="positive"):
        AudioFormat(sample_rate=rate, channels=channels)


def test_an_audio_format_takes_its_encoding_by_name() -> None:
    assert AudioFormat("pcm16") == AudioFormat(AudioEncoding.PCM16)


def test_twenty_milliseconds_of_the_default_format_are_960_bytes() -> None:
    assert AudioFormat().bytes_per_second == 960 * 50


SIGNALS = {
    "request_response": RealtimeInputFrame.request_response(),
    "end_of_turn": RealtimeInputFrame.end_of_turn(),
    "clear_input": RealtimeInputFrame.clear_input(),
}


@pytest.mark.parametrize("signal", list(InputSignal))
def test_a_control_frame_says_what_it_asks_for(signal: InputSignal) -> None:
    assert SIGNALS[signal].signal is signal


def test_a_tool_result_names_the_call_it_answers() -> None:
    assert RealtimeInputFrame.tool_result("call-7", "{}").call_id == "call-7"


def test_a_reference_has_no_payload() -> None:
    frame = RealtimeInputFrame.media_ref(RealtimeMediaKind.IMAGE, "blob:1", "a map")

    assert (frame.payload, frame.payload_bytes()) == (None, 0)
    assert (frame.content_refs, frame.redacted_summary) == (("blob:1",), "a map")


def test_a_reference_is_an_identifier() -> None:
    with pytest.raises(InvalidIdentifier):
        RealtimeInputFrame.media_ref(RealtimeMediaKind.IMAGE, "http://example.org/a b")


def test_a_summary_is_bounded() -> None:
    frame = RealtimeOutputFrame.transcript(None, "blob:1", "x" * 10_000)

    assert frame.redacted_summary == "x" * 200


@given(text=st.text())
def test_text_counts_as_utf_8(text: str) -> None:
    assert RealtimeInputFrame.text(text).payload_bytes() == len(text.encode())


def test_a_lone_surrogate_has_a_length_too() -> None:
    assert RealtimeInputFrame.text("\ud800").payload_bytes() == 3


@pytest.mark.parametrize("name", INPUTS)
def test_a_stamped_frame_differs_in_its_cursor_only(name: str) -> None:
    frame = INPUTS[name][0]()

    stamped = frame.stamped(StreamCursor.chunk(9))

    assert stamped.cursor == StreamCursor.chunk(9)
    assert frame.cursor is None
    assert attrs.evolve(stamped, cursor=None) == frame


def test_a_stamped_output_frame_keeps_its_event() -> None:
    frame = RealtimeOutputFrame.of(ToolCall("call-1", "paint", "{}"), response_id="answer-1")

    stamped = frame.stamped(StreamCursor.chunk(2))

    assert (stamped.event, stamped.response_id) == (frame.event, "answer-1")


OUTPUTS: list[tuple[RealtimeEvent, str]] = [
    (OutputAudio("item-1"), "audio"),
    (OutputText("x"), "text"),
    (OutputTranscript("x", final=True), "transcript"),
    (InputTranscript("x"), "transcript"),
    (SpeechStarted(120), "control"),
    (SpeechStopped(480), "control"),
    (InputCommitted(), "control"),
    (ResponseStarted(), "control"),
    (ResponseDone("cancelled"), "control"),
    (ToolCall("call-1", "paint", "{}"), "tool_call"),
    (ToolCallCancelled(("call-1",)), "control"),
    (GoAway(30.0), "control"),
    (ProviderWarning("rate"), "control"),
]


@pytest.mark.parametrize("event, kind", OUTPUTS, ids=[type(event).__name__ for event, _ in OUTPUTS])
def test_an_event_tells_the_kind_of_its_frame(event: RealtimeEvent, kind: str) -> None:
    frame = RealtimeOutputFrame.of(event, response_id="answer-1")

    assert (frame.media_kind, frame.event) == (kind, event)
    assert frame.response_id == RealtimeResponseId("answer-1")


def test_the_events_above_are_all_but_the_runtimes_own() -> None:
    assert {type(event) for event, _ in OUTPUTS} | {Restarted} == set(RealtimeEvent.__args__)


@pytest.mark.parametrize(
    "kind, event",
    [
        ("audio", OutputAudio()),
        ("text", OutputText("hello", final=True)),
        ("transcript", OutputTranscript("hello", final=True)),
        ("control", ProviderWarning()),
    ],
)
def test_a_frame_built_by_keyword_has_the_event_of_its_media(kind: str, event: RealtimeEvent) -> None:
    frame = RealtimeOutputFrame(media_kind=RealtimeMediaKind(kind), payload="hello")

    assert frame.event == event


def test_a_frame_built_by_keyword_of_bytes_makes_no_text_of_them() -> None:
    frame = RealtimeOutputFrame(media_kind=RealtimeMediaKind.TEXT, payload=b"hello")

    assert frame.event == OutputText("", final=True)


def test_output_audio_bears_its_answer_and_its_item() -> None:
    frame = RealtimeOutputFrame.audio(b"\0\0", response_id="answer-1", item_id="item-1")

    assert (frame.response_id, frame.event) == ("answer-1", OutputAudio("item-1"))
    assert frame.payload_bytes() == 2


def test_output_audio_is_what_its_fields_make_of_it() -> None:
    frame = RealtimeOutputFrame.audio(b"\0\0", response_id="answer-1", item_id="item-1", frame_id="frame-1")

    assert frame == RealtimeOutputFrame(
        media_kind=RealtimeMediaKind.AUDIO,
        payload=b"\0\0",
        response_id=RealtimeResponseId("answer-1"),
        event=OutputAudio("item-1"),
        frame_id=RealtimeFrameId("frame-1"),
    )
    assert (type(frame.response_id), type(frame.frame_id)) == (RealtimeResponseId, RealtimeFrameId)
    assert RealtimeOutputFrame.audio(b"").frame_id != RealtimeOutputFrame.audio(b"").frame_id


def test_output_audio_of_a_class_of_ones_own_is_built_as_that_class_says() -> None:
    @attrs.frozen(kw_only=True, slots=False)
    class Marked(RealtimeOutputFrame):
        mark: str = "mine"

    frame = Marked.audio(b"\0\0", response_id="answer-1")

    assert (type(frame), frame.mark, frame.response_id, frame.payload) == (
        Marked,
        "mine",
        "answer-1",
        b"\0\0",
    )


def test_a_transcript_kept_elsewhere_has_no_text() -> None:
    frame = RealtimeOutputFrame.transcript("answer-1", "blob:9", "a greeting")

    assert (frame.payload, frame.event) == (None, OutputTranscript("", final=True))
    assert frame.content_refs == ("blob:9",)


def test_a_response_id_of_the_provider_is_checked() -> None:
    with pytest.raises(InvalidIdentifier):
        RealtimeOutputFrame.audio(b"", response_id="an answer")


def test_call_ids_may_be_given_as_a_list() -> None:
    assert ToolCallCancelled(["a", "b"]) == ToolCallCancelled(("a", "b"))


def test_the_ports_offer_every_name_of_the_frames() -> None:
    private = {"input_frame_of", "install_frame_ids"}

    assert set(frames.__all__) - private <= set(ports.__all__)
