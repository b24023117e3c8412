"""
Which input the provider's conversation holds, and which of it a resumption handle brings back.

The wire has no positions, so this is concluded from when things happened, and in doubt it says less: what it
leaves out is said again, and reported as such, while what it wrongly claimed would be lost.

- An answer that begins knows the audio sent a second before, and the question that has waited longest.
- A handle that comes between two answers knows every question sent a second before.
- The end of a turn that the program gives makes all audio before it part of that question.
- A question whose answer nobody wants any more is treated as known after a restart, with all audio sent before that
  answer began: it can't be said without being asked.
"""

from __future__ import annotations

from collections import deque
from enum import Enum, auto

import attrs

__all__ = ["Coverage", "InputKind", "Kept"]

# What was sent later may have been under way still.  The session settles audio by the same second.
UNDER_WAY_S = 1.0
# 40 s of frames of 20 ms: longer than an answer is ever waited for.
_POSITIONS = 2048
_QUESTIONS = 256


class InputKind(Enum):
    """What a frame does to the conversation."""

    NOTHING = auto()
    """It has no message of its own."""
    MEDIA = auto()
    """It flows, and becomes part of a question when the provider sees fit."""
    CONTENT = auto()
    """It is held until something asks."""
    ASKS = auto()
    ENDS_TURN = auto()
    """It asks, and says that all audio before it belongs to the question."""
    RESULT = auto()
    """It belongs to the answer that is being given; it asks where there is none."""


@attrs.frozen
class _Sent:
    number: int
    at: float
    kind: InputKind


@attrs.frozen
class Kept:
    """What a conversation knows: all media up to a number, and these questions."""

    media_through: int = 0
    questions: frozenset[int] = frozenset()
    through: int = 0
    """Everything up to here."""


@attrs.frozen
class _LeftBehind:
    """What was under way when a connection ended; what was only written asks nothing, and is in neither."""

    answered: Kept
    """What the answer that was cut off knew."""
    owed: Kept
    """What had asked, and had no answer yet."""


class Coverage:
    """Follows one conversation, over all its connections."""

    def __init__(self) -> None:
        self._media: deque[_Sent] = deque(maxlen=_POSITIONS)
        self._questions: deque[_Sent] = deque(maxlen=_QUESTIONS)
        self._drawn = 0
        self._last = 0
        self._media_through = 0
        self._forgotten_media = 0
        self._known: set[int] = set()
        self._answering: tuple[int, frozenset[int]] | None = None
        self._committed_through = 0
        self._answering_after = 0
        """The last audio sent before the answer that began last."""
        self._left_behind: _LeftBehind | None = None
        self._unwanted = Kept()
        self.kept = Kept()
        """What the newest handle brings back."""

    @property
    def next_number(self) -> int:
        """For a frame that bears none."""
        return self._drawn + 1

    def knows(self, number: int, kind: InputKind) -> bool:
        """Whether the conversation holds that frame already, so that it must not be said again."""
        if number <= self.kept.through:
            return True
        return number <= self._media_through if kind is InputKind.MEDIA else number in self._known

    def sent(self, number: int, kind: InputKind, now: float) -> None:
        self._drawn = max(self._drawn, number)
        self._last = max(self._last, number)
        if kind is InputKind.NOTHING:
            return
        if kind is not InputKind.MEDIA:
            self._questions.append(_Sent(number, now, kind))
            if kind is InputKind.RESULT and self._answering is not None:
                media, questions = self._answering
                self._answering = media, questions | {number}
            return
        if len(self._media) == _POSITIONS:
            self._forgotten_media = self._media[0].number
        self._media.append(_Sent(number, now, kind))

    def answer_began(self, now: float) -> bool:
        """Note what an answer that begins can know of; return whether that is more audio than the answer before knew."""
        questions = frozenset(sent.number for sent in self._pending() if sent.at <= now - UNDER_WAY_S)
        oldest = next((sent for sent in self._pending() if sent.kind is not InputKind.CONTENT), None)
        if oldest is not None:
            # What was written before a question is part of it.
            questions |= {sent.number for sent in self._pending() if sent.number <= oldest.number}
        media = max((sent.number for sent in self._media if sent.at <= now - UNDER_WAY_S), default=0)
        media = max(media, self._turns_ended_in(questions))
        self._answering = media, questions
        self._answering_after = self._media[-1].number if self._media else 0
        is_more = any(self._committed_through < sent.number <= media for sent in self._media)
        self._committed_through = max(self._committed_through, media)
        return is_more

    def answer_ended(self) -> None:
        """The answer, whole or cut off, is part of the conversation, and so is what it answers."""
        if self._answering is None:
            return
        media, questions = self._answering
        self._answering = None
        self._media_through = max(self._media_through, media)
        self._known |= questions

    def connection_ended(self) -> None:
        """The connection is gone, and with it the answer that was being given."""
        if self._left_behind is None:
            _, questions = self._answering or (0, frozenset())
            media = 0 if self._answering is None else self._answering_after
            asking = {sent.number for sent in self._pending() if sent.kind is not InputKind.CONTENT}
            owed = asking - questions
            self._left_behind = _LeftBehind(
                Kept(media, questions & asking), Kept(self._turns_ended_in(owed), frozenset(owed))
            )
        self.answer_ended()

    def give_up_answer(self) -> None:
        """Nobody wants the answer that was cut off: what it answers is not asked again."""
        if self._left_behind is not None:
            self._give_up(self._left_behind.answered)

    def give_up_owed(self) -> None:
        """Nobody wants the answers that had not begun."""
        if self._left_behind is not None:
            self._give_up(self._left_behind.owed)

    def _give_up(self, asked: Kept) -> None:
        latest = sorted(self._unwanted.questions | asked.questions)[-_QUESTIONS:]
        self._unwanted = Kept(max(self._unwanted.media_through, asked.media_through), frozenset(latest))

    def handle_came(self, now: float) -> None:
        """A handle is given only where nothing is being generated: what had arrived by then was taken in."""
        if self._answering is None:
            questions = {sent.number for sent in self._pending() if sent.at <= now - UNDER_WAY_S}
            self._media_through = max(self._media_through, self._turns_ended_in(questions))
            self._known |= questions
        through = self._through()
        self._trim(through)
        self.kept = Kept(self._media_through, frozenset(self._known), through)

    def reconnected(self, kept: Kept) -> None:
        """A new connection stands, and goes on with a conversation that knows *kept*."""
        self.resumed(kept)
        self._left_behind = None

    def resumed(self, kept: Kept) -> None:
        """From here on the conversation knows *kept*, and nothing else."""
        unwanted = self._unwanted
        kept = Kept(
            max(kept.media_through, unwanted.media_through), kept.questions | unwanted.questions, kept.through
        )
        self._media.clear()
        self._questions.clear()
        self._last = kept.through
        self._media_through = kept.media_through
        self._forgotten_media = 0
        self._known = set(kept.questions)
        self._answering = None
        self._committed_through = kept.media_through
        self.kept = kept

    def _pending(self) -> list[_Sent]:
        return [sent for sent in self._questions if sent.number not in self._known]

    def _turns_ended_in(self, questions: set[int] | frozenset[int]) -> int:
        ends = (sent.number for sent in self._questions if sent.kind is InputKind.ENDS_TURN)
        return max((number for number in ends if number in questions), default=0)

    def _through(self) -> int:
        if self._forgotten_media > self._media_through:
            return self._media_through
        unknown = [sent.number for sent in self._media if sent.number > self._media_through]
        unknown += [sent.number for sent in self._pending()]
        return min(unknown) - 1 if unknown else self._last

    def _trim(self, through: int) -> None:
        for kept in (self._media, self._questions):
            while kept and kept[0].number <= through:
                kept.popleft()
        self._known = {number for number in self._known if number > through}
