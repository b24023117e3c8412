"""What a loopback OpenAI server does beside keeping the rules, as far as a test decides it."""

from __future__ import annotations

from collections.abc import Sequence
from enum import StrEnum

import attrs

from realtime_async.testing.loopback._openai_answers import Answer
from realtime_async.testing.loopback._openai_shapes import Json
from realtime_async.testing.loopback.hearing import Turns, TurnsByLoudness

__all__ = ["Configuration", "OpenAIScript", "Progress", "Transcribes"]


class Configuration(StrEnum):
    """Whether a connection must be configured before it is used."""

    REQUIRED = "required"
    """All but `session.update` is refused until then: a client that forgets it after a reconnect is found out."""
    OPTIONAL = "optional"
    """As OpenAI does it: the defaults hold."""


class Transcribes(StrEnum):
    """When the transcript of what the person said arrives; OpenAI promises no order."""

    BEFORE = "before"
    """Before the answer."""
    DURING = "during"
    """After the answer's first piece."""
    AFTER = "after"
    """After the answer's end."""


@attrs.frozen
class OpenAIScript:
    """
    What the server says, and when.

    The script goes on over all connections: an answer that was given is not given again on the next one.

    Args:
        answers: One for each response, in order.
        otherwise: For every response after these.
        turns: When a person speaks; None: never, so the client must commit.
        transcripts: One for each turn, in order, where the session asks for transcription; None: it fails.
        transcript_otherwise: For every turn after these.
        session_s: How long a connection may live, in seconds; OpenAI allows 60 minutes.
    """

    answers: Sequence[Answer] = ()
    otherwise: Answer = attrs.field(factory=Answer)
    turns: Turns | None = attrs.field(factory=TurnsByLoudness)
    transcripts: Sequence[str | None] = ()
    transcript_otherwise: str = "Hello there."
    transcribes: Transcribes = Transcribes.BEFORE
    configuration: Configuration = Configuration.REQUIRED
    session_s: float = 3600.0


class Progress:
    """How far a script was played."""

    def __init__(self, script: OpenAIScript) -> None:
        self.script = script
        self._answers = 0
        self._transcripts = 0

    def next_answer(self) -> Answer:
        self._answers += 1
        answers = self.script.answers
        return answers[self._answers - 1] if self._answers <= len(answers) else self.script.otherwise

    def transcript_of(self, item_id: str, spoken_ms: float) -> list[Json]:
        """Return the events that tell what was said in an item."""
        self._transcripts += 1
        scripted = self.script.transcripts
        is_scripted = self._transcripts <= len(scripted)
        text = scripted[self._transcripts - 1] if is_scripted else self.script.transcript_otherwise
        kind = "conversation.item.input_audio_transcription"
        place: Json = {"item_id": item_id, "content_index": 0}
        if text is None:
            error = {
                "type": "transcription_error",
                "code": "audio_unintelligible",
                "message": "Not understood.",
            }
            return [{"type": f"{kind}.failed", **place, "error": error}]
        words = text.split(" ")
        deltas = [word if index == 0 else f" {word}" for index, word in enumerate(words)]
        usage = {"type": "duration", "seconds": spoken_ms / 1000}
        return [
            *({"type": f"{kind}.delta", **place, "delta": delta} for delta in deltas),
            {"type": f"{kind}.completed", **place, "transcript": text, "usage": usage},
        ]
