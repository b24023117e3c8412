"""What the server remembers between connections: conversations, and the handles that bring them back."""

from __future__ import annotations

import re

import attrs

from realtime_async.testing.loopback._gemini_script import GeminiAnswer, GeminiScript
from realtime_async.testing.loopback._gemini_shapes import Refused

__all__ = ["GeminiConversation", "GeminiMemory", "number_in"]

_NUMBERED = re.compile(r"frame (\d+)\b")


def number_in(text: str) -> int | None:
    """The number of a text such as "frame 7", which lets a test ask what arrived."""
    found = _NUMBERED.match(text)
    return None if found is None else int(found[1])


@attrs.define(eq=False)
class GeminiConversation:
    """One session of the provider's, over all its connections."""

    number: int
    heard: list[int] = attrs.field(factory=list)
    """The numbers of the frames that bear one, as they arrived, over all connections."""
    known: list[int] = attrs.field(factory=list)
    """Of these, what the model knows of now: a connection that resumes forgets what came after its handle."""
    questions: list[str] = attrs.field(factory=list)
    """The texts that were asked, as they arrived."""


@attrs.frozen
class _Snapshot:
    conversation: GeminiConversation
    known: tuple[int, ...]
    taken_at: float


class GeminiMemory:
    def __init__(self, script: GeminiScript) -> None:
        self.script = script
        self.conversations: list[GeminiConversation] = []
        self._snapshots: dict[str, _Snapshot] = {}
        self._answers = 0
        self._calls = 0

    def begin(self) -> GeminiConversation:
        conversation = GeminiConversation(len(self.conversations) + 1)
        self.conversations.append(conversation)
        return conversation

    def handle_for(self, conversation: GeminiConversation, now: float) -> str:
        """Draw a handle that brings back what is known now."""
        handle = f"handle-{len(self._snapshots) + 1}"
        self._snapshots[handle] = _Snapshot(conversation, tuple(conversation.known), now)
        return handle

    def resume(self, handle: str, now: float) -> GeminiConversation:
        """
        Raises:
            Refused: There is no such handle, or no more.
        """
        snapshot = self._snapshots.get(handle)
        if snapshot is None or now > snapshot.taken_at + self.script.handle_s:
            raise Refused("Request contains an invalid argument: session handle.")
        snapshot.conversation.known[:] = snapshot.known
        return snapshot.conversation

    def forget_handles(self) -> None:
        self._snapshots.clear()

    def next_answer(self) -> GeminiAnswer:
        self._answers += 1
        answers = self.script.answers
        return answers[self._answers - 1] if self._answers <= len(answers) else self.script.otherwise

    def next_call_id(self) -> str:
        self._calls += 1
        return f"function-call-{self._calls}"
