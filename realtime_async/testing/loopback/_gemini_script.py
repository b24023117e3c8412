"""What a loopback Gemini server does beside keeping the rules, as far as a test decides it."""

from __future__ import annotations

import base64
from collections.abc import Iterable, Iterator, Sequence
from enum import StrEnum

import attrs

from realtime_async.testing.loopback._gemini_shapes import Json
from realtime_async.testing.loopback.hearing import Turns, TurnsByLoudness

__all__ = ["FirstHandle", "GeminiAnswer", "GeminiCall", "GeminiScript"]

# pcm16 at 24 kHz.
_BYTES_PER_MS = 48


class FirstHandle(StrEnum):
    """When a conversation can be resumed for the first time."""

    AFTER_SETUP = "after_setup"
    AFTER_TURN = "after_turn"


@attrs.frozen
class GeminiCall:
    """A function that the model asks for; the server draws its id."""

    name: str
    args: Json = attrs.field(factory=dict)


def _calls(values: Iterable[GeminiCall]) -> tuple[GeminiCall, ...]:
    return tuple(values)


@attrs.frozen
class GeminiAnswer:
    """
    One turn: calls of functions, and once they have their results, words.

    Args:
        audio_ms: How long the words take to speak, where the session answers in audio.
        piece_ms: How much audio one message holds.
        hold_after: After so many pieces the model goes on only when `go_on` is called, or it is interrupted.
        reason: Why the turn ends, where it isn't because all was said.
    """

    text: str = "Of course."
    calls: tuple[GeminiCall, ...] = attrs.field(default=(), converter=_calls)
    audio_ms: int = 400
    piece_ms: int = 100
    hold_after: int | None = None
    reason: str | None = None

    def pieces(self) -> int:
        return max(1, -(-self.audio_ms // self.piece_ms))

    def spoken(self) -> Iterator[Json]:
        """Yield the parts of the answer in audio; each piece is told by its number in the first sample."""
        for piece in range(self.pieces()):
            pcm = (piece + 1).to_bytes(2, "little") * (self.piece_ms * _BYTES_PER_MS // 2)
            yield {"inlineData": {"mimeType": "audio/pcm;rate=24000", "data": base64.b64encode(pcm).decode()}}

    def written(self) -> Iterator[str]:
        """Yield as many pieces of the text."""
        words = self.text.split(" ")
        per_piece = -(-len(words) // self.pieces())
        for first in range(0, len(words), per_piece):
            piece = " ".join(words[first : first + per_piece])
            yield piece if first == 0 else f" {piece}"


@attrs.frozen
class GeminiScript:
    """
    What the server says, and what it allows.

    The script goes on over all connections: an answer that was given is not given again on the next one.

    Args:
        answers: One for each question, in order.
        otherwise: For every question after these.
        turns: When a person speaks, where the session leaves that to the provider.
        heard_as: What the transcript of each spoken question says.
        models: Those that take `clientContent` at any time, and those that take it only as their first history.
        sessions: At a time; one more is refused with HTTP 429.
        connection_s: How long a connection may live, in seconds; Google allows about 10 minutes.
        go_away_s: How long before its end that is announced; who stays is closed with 1008.
        max_message_bytes: Google publishes no such number.
        handle_s: How long a handle is good, in seconds.
        setup_s: How long the server takes to answer a setup, in seconds.
    """

    answers: Sequence[GeminiAnswer] = ()
    otherwise: GeminiAnswer = attrs.field(factory=GeminiAnswer)
    turns: Turns = attrs.field(factory=TurnsByLoudness)
    heard_as: str = "Hello there."
    any_content_models: frozenset[str] = frozenset({"models/gemini-2.5-flash-native-audio"})
    first_content_models: frozenset[str] = frozenset({"models/gemini-3.8-live"})
    sessions: int = 1000
    connection_s: float = 600.0
    go_away_s: float = 50.0
    max_message_bytes: int = 4 * 2**20
    first_handle: FirstHandle = FirstHandle.AFTER_TURN
    handle_s: float = 7200.0
    setup_s: float = 0.0
