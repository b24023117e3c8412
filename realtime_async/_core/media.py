"""Kinds of media, and the formats of audio."""

from __future__ import annotations

from collections.abc import Mapping
from enum import StrEnum
from typing import TypeVar

import attrs

from realtime_async._core.given import choice, shown
from realtime_async.errors import ContractViolation

__all__ = [
    "DEFAULT_AUDIO",
    "AudioEncoding",
    "AudioFormat",
    "PrivacyClass",
    "RealtimeMediaKind",
    "RetentionClass",
    "given_format",
    "payload_bytes",
    "payload_of",
    "whole_samples",
]

_Payload = TypeVar("_Payload", bound=bytes | str)


class RealtimeMediaKind(StrEnum):
    AUDIO = "audio"
    TEXT = "text"
    IMAGE = "image"
    VIDEO = "video"
    TRANSCRIPT = "transcript"
    TOOL_CALL = "tool_call"
    TOOL_RESULT = "tool_result"
    CONTROL = "control"


class PrivacyClass(StrEnum):
    CONTENT_REFS_ONLY = "content_refs_only"
    REDACTED_SUMMARY = "redacted_summary"
    RAW_CONTENT_ALLOWED = "raw_content_allowed"


class RetentionClass(StrEnum):
    RUN_SCOPED = "run_scoped"
    SESSION_SCOPED = "session_scoped"
    DURABLE = "durable"


class AudioEncoding(StrEnum):
    PCM16 = "pcm16"
    """Signed 16 bit, little-endian."""
    G711_ULAW = "g711_ulaw"
    G711_ALAW = "g711_alaw"


BYTES_PER_SAMPLE: Mapping[AudioEncoding, int] = {
    AudioEncoding.PCM16: 2,
    AudioEncoding.G711_ULAW: 1,
    AudioEncoding.G711_ALAW: 1,
}


def _encoding(value: str) -> AudioEncoding:
    return choice(AudioEncoding, value, "encoding of an audio format")


@attrs.frozen
class AudioFormat:
    encoding: AudioEncoding = attrs.field(default=AudioEncoding.PCM16, converter=_encoding)
    sample_rate: int = 24_000
    """Samples per second and channel."""
    channels: int = 1

    def __attrs_post_init__(self) -> None:
        if not all(type(number) is int and number >= 1 for number in (self.sample_rate, self.channels)):
            raise ContractViolation(
                f"an audio format of {shown(self.sample_rate)} Hz and {shown(self.channels)} channels is "
                "impossible: give both as positive whole numbers"
            )

    @property
    def bytes_per_sample(self) -> int:
        """Bytes of one sample of all channels."""
        return BYTES_PER_SAMPLE[self.encoding] * self.channels

    @property
    def bytes_per_second(self) -> int:
        return self.bytes_per_sample * self.sample_rate


def given_format(value: object) -> AudioFormat:
    """
    *value*, if it is a format of audio.

    Raises:
        ContractViolation: It is none.
    """
    if not isinstance(value, AudioFormat):
        raise ContractViolation(
            f"the audio_format is {shown(value)}: give an AudioFormat, such as adapter.output_format"
        )
    return value


# What a payload is made of; a kind that is missing bears text.
_BINARY_KINDS = frozenset({RealtimeMediaKind.AUDIO, RealtimeMediaKind.IMAGE, RealtimeMediaKind.VIDEO})
_TO_GIVE = {
    bytes: "give its data as bytes; a buffer that may change while the frame waits must be copied",
    str: "give it as str; decode bytes first",
}


# pcm16, 24 kHz, mono: what OpenAI Realtime takes unless told otherwise.
DEFAULT_AUDIO = AudioFormat()


def payload_of(kind: RealtimeMediaKind, payload: _Payload) -> _Payload:
    """
    *payload*, if it is what a frame of *kind* bears: `bytes` for audio, images and video, else `str`.

    Raises:
        ContractViolation: It is something else.
    """
    needed = bytes if kind in _BINARY_KINDS else str
    if not isinstance(payload, needed):
        raise ContractViolation(
            f"a frame of {kind} needs a payload of {needed.__name__}, not {type(payload).__name__}: {_TO_GIVE[needed]}"
        )
    return payload


def payload_bytes(payload: bytes | str | None) -> int:
    """The length of *payload* in bytes; text counts as UTF-8."""
    if payload is None:
        return 0
    return len(payload.encode("utf-8", "surrogatepass")) if isinstance(payload, str) else len(payload)


def whole_samples(sound: bytes, audio_format: AudioFormat | None) -> None:
    """
    Check that *sound* ends with a whole sample.

    Args:
        audio_format: None: nobody stated one, and it is taken for `DEFAULT_AUDIO`.

    Raises:
        ContractViolation: It does not, or the format is none.
    """
    if audio_format is not None and not isinstance(audio_format, AudioFormat):
        raise ContractViolation(
            f"the audio_format is {shown(audio_format)}: give an AudioFormat, such as AudioFormat('g711_ulaw', 8000)"
        )
    known = DEFAULT_AUDIO if audio_format is None else audio_format
    if len(sound) % known.bytes_per_sample:
        how = (
            "cut the audio between samples"
            if audio_format is not None
            else "that is what audio is taken for unless told; state another, such as G.711 of a telephone, as "
            "audio_format=adapter.input_format, or cut the audio between samples"
        )
        raise ContractViolation(
            f"{len(sound)} bytes of {known.encoding} with {known.channels} channel(s) are not a whole "
            f"number of samples of {known.bytes_per_sample} bytes: {how}"
        )
