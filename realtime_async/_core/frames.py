"""
One frame each way.

Frames carry the payload; records never do.
Frame ids come from a source that the shell installs, as nothing here draws a random number.
"""

from __future__ import annotations

import functools
import re
from collections.abc import Callable, Iterable
from enum import StrEnum
from typing import Any, Self, TypeVar

import attrs

from realtime_async._core.copying import copied
from realtime_async._core.cursors import StreamCursor
from realtime_async._core.events import (
    MEDIA_KIND,
    OutputAudio,
    OutputText,
    OutputTranscript,
    ProviderWarning,
    RealtimeEvent,
)
from realtime_async._core.given import choice, shown, text
from realtime_async._core.identifiers import ContentRef, RealtimeFrameId, RealtimeResponseId
from realtime_async._core.media import (
    AudioFormat,
    PrivacyClass,
    RealtimeMediaKind,
    RetentionClass,
    payload_bytes,
    payload_of,
    whole_samples,
)
from realtime_async.errors import ContractViolation

__all__ = [
    "InputSignal",
    "RealtimeInputFrame",
    "RealtimeOutputFrame",
    "input_frame_of",
    "install_frame_ids",
]

SUMMARY_LENGTH = 200


class InputSignal(StrEnum):
    """What a control frame asks of the provider."""

    REQUEST_RESPONSE = "request_response"
    END_OF_TURN = "end_of_turn"
    CLEAR_INPUT = "clear_input"


def _no_source() -> RealtimeFrameId:
    raise AssertionError("realtime_async.ports installs the source of frame ids")


_draw_frame_id: Callable[[], RealtimeFrameId] = _no_source


def install_frame_ids(source: Callable[[], RealtimeFrameId]) -> None:
    """Let *source* name the frames that are built without an id."""
    global _draw_frame_id  # noqa: PLW0603 - the one thing that the core is lent
    _draw_frame_id = source


def _frame_id(value: str | None) -> RealtimeFrameId:
    return _draw_frame_id() if value is None else RealtimeFrameId(value)


def _response_id(value: str | None) -> RealtimeResponseId | None:
    return None if value is None else RealtimeResponseId(value)


def _content_refs(values: Iterable[str]) -> tuple[ContentRef, ...]:
    if values == ():
        return ()
    if isinstance(values, str) or not isinstance(values, Iterable):
        raise ContractViolation(f"the content_refs are {shown(values)}: give a tuple of references")
    return tuple(map(ContentRef, values))


def _summary(value: str | None) -> str | None:
    return None if value is None else text(value, "redacted_summary")[:SUMMARY_LENGTH]


# A frame is made a hundred times a second and call: what is a member already is not looked up again.
def _media_kind(value: str) -> RealtimeMediaKind:
    return value if type(value) is RealtimeMediaKind else choice(RealtimeMediaKind, value, "media kind")


def _privacy(value: str) -> PrivacyClass:
    return value if type(value) is PrivacyClass else choice(PrivacyClass, value, "privacy")


def _retention(value: str) -> RetentionClass:
    return value if type(value) is RetentionClass else choice(RetentionClass, value, "retention")


def _signal(value: str | None) -> InputSignal | None:
    return None if value is None else choice(InputSignal, value, "signal")


def _call_id(value: str) -> str:
    # Without one nobody knows what is answered.
    return text(value, "call_id")


def _check_payload(frame: RealtimeInputFrame, _: object, payload: bytes | str | None) -> None:
    # Nearly every frame is the first of these, and the look at its kind costs more than the rest.
    if type(payload) is bytes and frame.media_kind is RealtimeMediaKind.AUDIO:
        return
    if payload is not None:
        payload_of(frame.media_kind, payload)
    if frame.call_id is not None:
        text(frame.call_id, "call_id")
    if frame.mime_type is not None:
        text(frame.mime_type, "mime_type")


# Losing a piece of these is heard as a click; losing one of the others changes what is said.
NON_CRITICAL = frozenset({RealtimeMediaKind.AUDIO, RealtimeMediaKind.VIDEO})


_Frame = TypeVar("_Frame", bound="RealtimeInputFrame | RealtimeOutputFrame")


def _stamped(frame: _Frame, cursor: StreamCursor) -> _Frame:
    """This frame, at *cursor*."""
    # What `copied` does, with one dict and one call less, 50 times a second.
    fields = frame.__dict__.copy()
    fields["cursor"] = cursor
    copy = object.__new__(type(frame))
    object.__setattr__(copy, "__dict__", fields)
    return copy


@attrs.frozen(kw_only=True, slots=False)
class RealtimeInputFrame:
    """One piece of media, text or a signal on its way to the provider."""

    media_kind: RealtimeMediaKind = attrs.field(converter=_media_kind)
    frame_id: RealtimeFrameId = attrs.field(default=None, converter=_frame_id)
    content_refs: tuple[ContentRef, ...] = attrs.field(default=(), converter=_content_refs)
    redacted_summary: str | None = attrs.field(default=None, converter=_summary)
    cursor: StreamCursor | None = attrs.field(default=None, eq=False)
    """Stamped by the controller before the provider's call."""
    privacy: PrivacyClass = attrs.field(default=PrivacyClass.CONTENT_REFS_ONLY, converter=_privacy)
    retention: RetentionClass = attrs.field(default=RetentionClass.RUN_SCOPED, converter=_retention)
    payload: bytes | str | None = attrs.field(default=None, repr=False, validator=_check_payload)
    """`bytes` for audio, images and video, `str` for all else; None where there is no such thing."""
    critical: bool = attrs.field()
    """False: the frame may be dropped to make room, see `RealtimeOverflowPolicy`."""
    signal: InputSignal | None = attrs.field(default=None, converter=_signal)
    """What a control frame asks for; None on all others."""
    call_id: str | None = None
    """Which tool call a tool result answers."""
    mime_type: str | None = None
    """Of an image or a video frame."""
    audio_format: AudioFormat | None = None
    """Of an audio frame; None: the adapter's `input_format`."""

    @critical.default
    def _critical_unless_media(self) -> bool:
        return self.media_kind not in NON_CRITICAL

    @classmethod
    def audio(
        cls,
        pcm: bytes,
        *,
        audio_format: AudioFormat | None = None,
        frame_id: str | None = None,
        critical: bool = False,
    ) -> Self:
        """
        A piece of speech, usually 20 ms: in the adapter's `input_format` unless *audio_format* says otherwise.

        Raises:
            ContractViolation: It ends inside a sample, of pcm16 where no format is stated.
                State that of a telephone, as a sample of G.711 is a single byte.
        """
        if type(pcm) is not bytes:
            payload_of(RealtimeMediaKind.AUDIO, pcm)
        whole_samples(pcm, audio_format)
        return cls(
            media_kind=RealtimeMediaKind.AUDIO,
            payload=pcm,
            audio_format=audio_format,
            frame_id=frame_id,
            critical=critical,
        )

    @classmethod
    def text(cls, text: str, *, frame_id: str | None = None) -> Self:
        return cls(
            media_kind=RealtimeMediaKind.TEXT,
            payload=payload_of(RealtimeMediaKind.TEXT, text),
            frame_id=frame_id,
        )

    @classmethod
    def image(cls, image: bytes, *, mime_type: str = "image/jpeg", frame_id: str | None = None) -> Self:
        return cls(
            media_kind=RealtimeMediaKind.IMAGE,
            payload=payload_of(RealtimeMediaKind.IMAGE, image),
            mime_type=mime_type,
            frame_id=frame_id,
        )

    @classmethod
    def video(cls, picture: bytes, *, mime_type: str = "image/jpeg", frame_id: str | None = None) -> Self:
        """One picture of a video."""
        return cls(
            media_kind=RealtimeMediaKind.VIDEO,
            payload=payload_of(RealtimeMediaKind.VIDEO, picture),
            mime_type=mime_type,
            frame_id=frame_id,
        )

    @classmethod
    def tool_result(cls, call_id: str, output: str, *, frame_id: str | None = None) -> Self:
        """What the tool called as *call_id* returned, as text or JSON text."""
        return cls(
            media_kind=RealtimeMediaKind.TOOL_RESULT,
            payload=payload_of(RealtimeMediaKind.TOOL_RESULT, output),
            call_id=_call_id(call_id),
            frame_id=frame_id,
        )

    @classmethod
    def request_response(cls, instructions: str | None = None, *, frame_id: str | None = None) -> Self:
        """Ask for an answer now, by *instructions* where given."""
        return cls(
            media_kind=RealtimeMediaKind.CONTROL,
            payload=instructions,
            signal=InputSignal.REQUEST_RESPONSE,
            redacted_summary=InputSignal.REQUEST_RESPONSE,
            frame_id=frame_id,
        )

    @classmethod
    def end_of_turn(cls, *, frame_id: str | None = None) -> Self:
        """Say that the person has finished."""
        signal = InputSignal.END_OF_TURN
        return cls(
            media_kind=RealtimeMediaKind.CONTROL, signal=signal, redacted_summary=signal, frame_id=frame_id
        )

    @classmethod
    def clear_input(cls, *, frame_id: str | None = None) -> Self:
        """Forget the audio that is not committed yet."""
        signal = InputSignal.CLEAR_INPUT
        return cls(
            media_kind=RealtimeMediaKind.CONTROL, signal=signal, redacted_summary=signal, frame_id=frame_id
        )

    @classmethod
    def media_ref(
        cls,
        kind: RealtimeMediaKind,
        content_ref: str,
        summary: str | None = None,
        *,
        frame_id: str | None = None,
    ) -> Self:
        """Media that the adapter fetches by *content_ref*; no payload passes through the session."""
        return cls(media_kind=kind, content_refs=(content_ref,), redacted_summary=summary, frame_id=frame_id)

    stamped = _stamped

    def payload_bytes(self) -> int:
        return payload_bytes(self.payload)


def input_frame_of(fields: dict[str, Any]) -> RealtimeInputFrame:
    """The frame with *fields*, all of them, which a frame had before: they are not checked again."""
    frame = object.__new__(RealtimeInputFrame)
    object.__setattr__(frame, "__dict__", fields)
    return frame


@attrs.frozen(kw_only=True, slots=False)
class RealtimeOutputFrame:
    """One piece of what the provider sent."""

    media_kind: RealtimeMediaKind = attrs.field(converter=_media_kind)
    frame_id: RealtimeFrameId = attrs.field(default=None, converter=_frame_id)
    content_refs: tuple[ContentRef, ...] = attrs.field(default=(), converter=_content_refs)
    redacted_summary: str | None = attrs.field(default=None, converter=_summary)
    cursor: StreamCursor | None = attrs.field(default=None, eq=False)
    """Stamped by the controller where the adapter left it out."""
    privacy: PrivacyClass = attrs.field(default=PrivacyClass.CONTENT_REFS_ONLY, converter=_privacy)
    retention: RetentionClass = attrs.field(default=RetentionClass.RUN_SCOPED, converter=_retention)
    payload: bytes | str | None = attrs.field(default=None, repr=False)
    response_id: RealtimeResponseId | None = attrs.field(default=None, converter=_response_id)
    event: RealtimeEvent = attrs.field()

    @event.default
    def _event_of_the_media(self) -> RealtimeEvent:
        text = self.payload if isinstance(self.payload, str) else ""
        match self.media_kind:
            case RealtimeMediaKind.AUDIO:
                return OutputAudio()
            case RealtimeMediaKind.TEXT:
                return OutputText(text, final=True)
            case RealtimeMediaKind.TRANSCRIPT:
                return OutputTranscript(text, final=True)
            case _:
                return ProviderWarning()

    @classmethod
    def audio(
        cls,
        pcm: bytes,
        *,
        response_id: str | None = None,
        item_id: str | None = None,
        frame_id: str | None = None,
    ) -> Self:
        """A piece of speech in the adapter's `output_format`."""
        own: dict[str, Any] = {
            "payload": pcm,
            "response_id": _response_id(response_id),
            "event": OutputAudio(item_id),
            "frame_id": _frame_id(frame_id),
        }
        # Nearly every frame is one.  What it shares with the others is converted once; what derives from it may have
        # more to it.
        if cls is RealtimeOutputFrame:
            speech: Self = copied(_speech(), own)
            return speech
        return cls(media_kind=RealtimeMediaKind.AUDIO, **own)

    @classmethod
    def transcript(
        cls,
        response_id: str | None,
        content_ref: str,
        summary: str | None = None,
        *,
        frame_id: str | None = None,
    ) -> Self:
        """A finished transcript that is kept elsewhere, under *content_ref*."""
        return cls(
            media_kind=RealtimeMediaKind.TRANSCRIPT,
            response_id=response_id,
            content_refs=(content_ref,),
            redacted_summary=summary,
            event=OutputTranscript(final=True),
            frame_id=frame_id,
        )

    @classmethod
    def of(
        cls,
        event: RealtimeEvent,
        *,
        response_id: str | None = None,
        payload: bytes | str | None = None,
        frame_id: str | None = None,
    ) -> Self:
        """
        The frame that bears *event*.

        Its summary is the event's name, so that a record tells what a frame without media was.
        """
        return cls(
            media_kind=MEDIA_KIND.get(type(event), RealtimeMediaKind.CONTROL),
            redacted_summary=_snake_case(type(event).__name__),
            response_id=response_id,
            payload=payload,
            event=event,
            frame_id=frame_id,
        )

    stamped = _stamped

    def payload_bytes(self) -> int:
        return payload_bytes(self.payload)


@functools.cache
def _speech() -> Any:
    """What frames of speech share."""
    return RealtimeOutputFrame(
        media_kind=RealtimeMediaKind.AUDIO, frame_id="frame.speech", event=OutputAudio()
    )


@functools.cache
def _snake_case(name: str) -> str:
    return re.sub(r"(?<!^)(?=[A-Z])", "_", name).lower()
