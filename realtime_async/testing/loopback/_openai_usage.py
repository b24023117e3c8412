"""
What a response costs, in tokens by modality.

Audio counts as OpenAI documents it: a token for 100 ms of the person's, one for 50 ms of the model's; a word is a token.
"""

from __future__ import annotations

from realtime_async.testing.loopback._openai_shapes import Json

__all__ = ["Usage"]

INPUT_MS_PER_TOKEN = 100
OUTPUT_MS_PER_TOKEN = 50


class Usage:
    """What the conversation holds so far; all of it is input of the next response."""

    def __init__(self) -> None:
        self._text = 0
        self._audio = 0
        self._cached_text = 0
        self._cached_audio = 0

    def heard(self, spoken_ms: float) -> None:
        self._audio += round(spoken_ms / INPUT_MS_PER_TOKEN)

    def read(self, item: Json) -> None:
        """Count an item that the client created."""
        parts = [part.get("text", "") for part in item.get("content", [])]
        self._text += sum(len(text.split()) for text in [*parts, item.get("output", "")])

    def of_response(self, words: int, audio_ms: float) -> Json:
        """Return what a response cost, and count what it said."""
        spoken = round(audio_ms / OUTPUT_MS_PER_TOKEN)
        usage: Json = {
            "total_tokens": self._text + self._audio + words + spoken,
            "input_tokens": self._text + self._audio,
            "output_tokens": words + spoken,
            "input_token_details": {
                "text_tokens": self._text,
                "audio_tokens": self._audio,
                "image_tokens": 0,
                "cached_tokens": self._cached_text + self._cached_audio,
                "cached_tokens_details": {
                    "text_tokens": self._cached_text,
                    "audio_tokens": self._cached_audio,
                    "image_tokens": 0,
                },
            },
            "output_token_details": {"text_tokens": words, "audio_tokens": spoken},
        }
        self._cached_text, self._cached_audio = self._text, self._audio
        self._text += words
        self._audio += spoken
        return usage
