"""One turn of the model's, piece by piece, so that it can be cut between any two of them."""

from __future__ import annotations

from collections.abc import Callable, Iterator

from realtime_async.testing.loopback._gemini_script import GeminiAnswer
from realtime_async.testing.loopback._gemini_shapes import Json

__all__ = ["GeminiTurn"]


class GeminiTurn:
    """
    Performs an answer: its calls, then, when all have their results, its words.

    The counts of its usage grow from message to message, as those of the real server do.
    """

    def __init__(self, answer: GeminiAnswer, setup: Json, draw_id: Callable[[], str]) -> None:
        self.is_over = False
        self.waiting: dict[str, str] = {}
        """Names of the functions whose results are due, by call id."""
        self._answer = answer
        self._draw_id = draw_id
        modalities = setup.get("generationConfig", {}).get("responseModalities", ["AUDIO"])
        self._is_spoken = modalities == ["AUDIO"]
        self._is_transcribed = "outputAudioTranscription" in setup
        self._pieces = 0
        self._is_held = False
        self._rest = self._perform()

    @property
    def waiting_calls(self) -> set[str]:
        return set(self.waiting)

    def next_piece(self) -> list[Json] | None:
        """Return the next messages; None: it waits for results, or is held up."""
        if self._is_held or self.waiting:
            return None
        return next(self._rest)

    def go_on(self) -> None:
        self._is_held = False

    def answered(self, call_id: str) -> None:
        del self.waiting[call_id]

    def cut(self) -> list[Json]:
        """End it where it is."""
        messages: list[Json] = []
        if self.waiting:
            messages.append({"toolCallCancellation": {"ids": list(self.waiting)}})
        messages.append({"serverContent": {"interrupted": True}})
        messages.append({"serverContent": {"turnComplete": True}, **self._usage()})
        return messages

    def _perform(self) -> Iterator[list[Json]]:
        if self._answer.calls:
            yield [
                {
                    "toolCall": {
                        "functionCalls": [self._call(call.name, call.args) for call in self._answer.calls]
                    }
                }
            ]
        for messages in self._spoken() if self._is_spoken else self._written():
            self._is_held = self._pieces == self._answer.hold_after
            yield messages
        yield [{"serverContent": {"generationComplete": True}}]
        self.is_over = True
        reason = {} if self._answer.reason is None else {"turnCompleteReason": self._answer.reason}
        yield [{"serverContent": {"turnComplete": True, **reason}, **self._usage()}]

    def _call(self, name: str, args: Json) -> Json:
        call_id = self._draw_id()
        self.waiting[call_id] = name
        return {"id": call_id, "name": name, "args": args}

    def _spoken(self) -> Iterator[list[Json]]:
        words = list(self._answer.written())
        for place, part in enumerate(self._answer.spoken()):
            self._pieces += 1
            messages: list[Json] = [
                {"serverContent": {"modelTurn": {"role": "model", "parts": [part]}}, **self._usage()}
            ]
            if self._is_transcribed and place < len(words):
                messages.append({"serverContent": {"outputTranscription": {"text": words[place]}}})
            yield messages

    def _written(self) -> Iterator[list[Json]]:
        for text in self._answer.written():
            self._pieces += 1
            yield [
                {
                    "serverContent": {"modelTurn": {"role": "model", "parts": [{"text": text}]}},
                    **self._usage(),
                }
            ]

    def _usage(self) -> Json:
        answered = 10 * self._pieces
        modality = "AUDIO" if self._is_spoken else "TEXT"
        return {
            "usageMetadata": {
                "promptTokenCount": 20,
                "responseTokenCount": answered,
                "totalTokenCount": 20 + answered,
                "promptTokensDetails": [{"modality": "AUDIO", "tokenCount": 20}],
                "responseTokensDetails": [{"modality": modality, "tokenCount": answered}],
            }
        }
