"""What an inbound frame means: a closed union to `match` on."""

from __future__ import annotations

from collections.abc import Iterable, Mapping

import attrs

from realtime_async._core.accounting import RestartReport
from realtime_async._core.given import shown
from realtime_async._core.media import RealtimeMediaKind
from realtime_async._core.usage import ResponseUsage
from realtime_async.errors import ContractViolation

__all__ = [
    "MEDIA_KIND",
    "GoAway",
    "InputCommitted",
    "InputTranscript",
    "OutputAudio",
    "OutputText",
    "OutputTranscript",
    "ProviderWarning",
    "RealtimeEvent",
    "ResponseDone",
    "ResponseStarted",
    "ResponseUsage",
    "Restarted",
    "SpeechStarted",
    "SpeechStopped",
    "ToolCall",
    "ToolCallCancelled",
]


@attrs.frozen
class OutputAudio:
    """A piece of the answer's speech; the samples are the frame's payload."""

    item_id: str | None = None


@attrs.frozen
class OutputText:
    """A piece of the answer's text; where *final*, the whole of it."""

    text: str = attrs.field(default="", repr=False)
    final: bool = False


@attrs.frozen
class OutputTranscript:
    """What the answer's speech says; where *final*, the whole of it."""

    text: str = attrs.field(default="", repr=False)
    final: bool = False


@attrs.frozen
class InputTranscript:
    """What the person said, as the provider heard it; where *final*, the whole of it."""

    text: str = attrs.field(default="", repr=False)
    final: bool = False


@attrs.frozen
class SpeechStarted:
    """
    The person began to speak: time to stop talking.

    Sources: OpenAI `input_audio_buffer.speech_started`, Gemini `serverContent.interrupted`.
    """

    audio_start_ms: int | None = None
    """Milliseconds of input audio since the session began; None where the provider doesn't say."""


@attrs.frozen
class SpeechStopped:
    """The person fell silent."""

    audio_end_ms: int | None = None
    """Milliseconds of input audio since the session began; None where the provider doesn't say."""


@attrs.frozen
class InputCommitted:
    """The provider took what was said into the conversation."""

    audio_end_ms: int | None = None
    """Milliseconds of input audio since the session began; None where the provider doesn't say."""


@attrs.frozen
class ResponseStarted:
    """An answer begins; its id is the frame's `response_id`."""


@attrs.frozen
class ResponseDone:
    """An answer ended: completed, cancelled, incomplete or failed."""

    status: str = "completed"
    usage: ResponseUsage | None = attrs.field(default=None)

    @usage.validator
    def _is_usage(self, _: object, usage: object) -> None:
        if usage is not None and not isinstance(usage, ResponseUsage):
            raise ContractViolation(
                f"the usage of an answer is {shown(usage)}: give a ResponseUsage, or None"
            )


@attrs.frozen
class ToolCall:
    """The model asks for a function to be called; answer with `RealtimeInputFrame.tool_result`."""

    call_id: str = ""
    name: str = ""
    arguments: str = attrs.field(default="", repr=False)
    """JSON text, as the model wrote it."""


def _call_ids(values: Iterable[str]) -> tuple[str, ...]:
    if isinstance(values, str) or not isinstance(values, Iterable):
        raise ContractViolation(f"the call_ids are {shown(values)}: give a tuple of them")
    return tuple(values)


@attrs.frozen
class ToolCallCancelled:
    """The provider takes tool calls back; their results are not wanted any more."""

    call_ids: tuple[str, ...] = attrs.field(default=(), converter=_call_ids)


@attrs.frozen
class GoAway:
    """The provider will close the connection."""

    time_left_s: float | None = None


@attrs.frozen
class ProviderWarning:
    """Something went wrong at the provider that ends nothing."""

    code: str = "unspecified"


@attrs.frozen
class Restarted:
    """The session goes on with a new connection."""

    report: RestartReport


RealtimeEvent = (
    OutputAudio
    | OutputText
    | OutputTranscript
    | InputTranscript
    | SpeechStarted
    | SpeechStopped
    | InputCommitted
    | ResponseStarted
    | ResponseDone
    | ToolCall
    | ToolCallCancelled
    | GoAway
    | ProviderWarning
    | Restarted
)

MEDIA_KIND: Mapping[type[RealtimeEvent], RealtimeMediaKind] = {
    OutputAudio: RealtimeMediaKind.AUDIO,
    OutputText: RealtimeMediaKind.TEXT,
    OutputTranscript: RealtimeMediaKind.TRANSCRIPT,
    InputTranscript: RealtimeMediaKind.TRANSCRIPT,
    ToolCall: RealtimeMediaKind.TOOL_CALL,
}
