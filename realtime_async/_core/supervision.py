"""
When a connection is to be replaced, and why: events and time come in, a reason and the next deadline go out.

What a restart costs is in `restarts`; here is only whether one is due.
"""

from __future__ import annotations

import math

from realtime_async._core.accounting import RealtimeRestartReason
from realtime_async._core.events import (
    GoAway,
    InputCommitted,
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
from realtime_async._core.frames import InputSignal
from realtime_async._core.restarts import RestartPolicy

__all__ = ["ASKS", "OUTPUT", "Supervision", "Turn"]

_Reason = RealtimeRestartReason

OUTPUT = (OutputAudio, OutputText, OutputTranscript)
"""What an answer consists of."""

ASKS = (InputSignal.REQUEST_RESPONSE, InputSignal.END_OF_TURN)
"""What a program sends when an answer is to come."""

# They come from a provider that gets nowhere, too.
_NO_PROGRESS = (GoAway, ProviderWarning, Restarted)

# Of the time that a provider gives: the new connection must be there before the old one ends.
_SHARE_OF_TIME_LEFT = 0.8


def _gives_hope(event: RealtimeEvent) -> bool:
    """Whether the conversation got on by *event*, so that another connection may do so too."""
    # Each new connection is asked anew for the answer that was cut off; that it is taken up, and cut off, is no news.
    match event:
        case ResponseStarted():
            return False
        case ResponseDone(status):
            return status == "completed"
        case _:
            return True


class Turn:
    """Whose turn it is: between turns nobody speaks, and nobody is about to."""

    def __init__(self) -> None:
        self._is_speaking = False
        self._awaits_answer = False
        self._has_called = False
        self._is_told = False
        self._is_silenced = False
        self._asked_for = 0
        self._begun = 0
        self.is_answering = False
        """An answer has begun, and is not done."""

    @property
    def is_over(self) -> bool:
        return not (self._is_speaking or self._awaits_answer or self._has_called or self.is_answering)

    def asked(self) -> None:
        """The program has asked for an answer, or ended its turn."""
        self._asked_for += 1
        self._awaits_answer = not self.is_answering

    def told(self) -> None:
        """The program has given the result of a tool."""
        self._is_told = True

    @property
    def so_far(self) -> tuple[int, int]:
        """How many answers were asked for, and how many have begun."""
        return self._asked_for, self._begun

    def silenced(self, so_far: tuple[int, int]) -> None:
        """The program has interrupted the answer, or does not want the one that was owed, *so_far*; what came since goes on."""
        asked_for, begun = so_far
        if begun == self._begun:
            self._is_silenced = self.is_answering
        if asked_for == self._asked_for:
            self._awaits_answer = False

    def heard(self, event: RealtimeEvent) -> None:
        match event:
            # First what nearly every event is: each case is looked at in turn.
            case OutputAudio() | OutputText() | OutputTranscript():
                self._goes_on()
                if self._is_told:
                    self._has_called = False
            case Restarted():
                self._replaced()
            case SpeechStarted():
                self._is_speaking = True
            case SpeechStopped() | InputCommitted():
                self._is_speaking = False
                self.asked()
            case ToolCall():
                # What comes of it is said in this answer or in the next one, as the provider goes.
                self._has_called = True
                self._is_told = False
            case ToolCallCancelled():
                self._has_called = False
            case ResponseDone():
                self._awaits_answer = self._is_silenced = self.is_answering = False
            case ResponseStarted():
                self._goes_on()
                self._has_called = False
            case _:
                pass

    def _goes_on(self) -> None:
        self._begun += not self.is_answering
        self._awaits_answer = False
        self.is_answering = True

    def _replaced(self) -> None:
        """The new connection is told what was said last, and asked again for the answer that is owed or was cut off."""
        owed = self._awaits_answer or (self.is_answering and not self._is_silenced)
        has_called = self._has_called
        self.cut_off()
        self._awaits_answer, self._has_called = owed, has_called

    def cut_off(self) -> None:
        """The connection is gone, and with it whatever was being said."""
        self._is_speaking = self._awaits_answer = self._has_called = False
        self._is_silenced = self.is_answering = False


class Supervision:
    """Watches one connection after the other."""

    def __init__(self, policy: RestartPolicy, now: float) -> None:
        self.turn = Turn()
        self._policy = policy
        self._planned: RealtimeRestartReason | None = None
        self._latest = math.inf
        self._out_since: float | None = None
        self._owed_since: float | None = None
        self._old_at = math.inf
        self._is_deaf = False
        self._connected_at = now
        self._has_answered = False
        self.connected(now)

    def connected(self, now: float, *, unanswered: int = 0) -> None:
        """
        There is a connection.

        Args:
            unanswered: Frames that it was given already.
        """
        self._connected_at = now
        self._has_answered = False
        self._planned = None
        self._latest = math.inf
        self._out_since = now if unanswered else None
        # Whether the new connection knows of a question that the old one was asked is the adapter's to know.
        self._owed_since = None
        age_s = self._policy.max_connection_age_s
        self._old_at = math.inf if age_s is None else now + age_s
        self.turn.cut_off()

    def heard(self, event: RealtimeEvent, now: float) -> bool:
        """
        The provider said *event*.

        Returns:
            Whether that is progress of the conversation: a reason to hope for the next connection.
        """
        self.turn.heard(event)
        if isinstance(event, OUTPUT):
            # Nearly every event is one, and it is nothing else of what is asked below.
            self._out_since = None
            self._owed_since = now
            return True
        if isinstance(event, GoAway):
            self._plan(_Reason.GO_AWAY, now, event.time_left_s)
        if isinstance(event, _NO_PROGRESS):
            return False
        self._out_since = None
        self._has_answered |= isinstance(event, ResponseDone) and event.status == "completed"
        match event:
            case ResponseStarted():
                self._owed_since = now
            case ResponseDone() | SpeechStarted() | ToolCall():
                # It is done, or somebody else's turn: the person's, or a tool's.
                self._owed_since = None
            case _ if self._owed_since is not None:
                self._owed_since = now
            case _:
                pass
        return _gives_hope(event)

    def is_settled(self, now: float) -> bool:
        """Whether this connection does what it is for: it has answered, or lasts longer than one is waited for."""
        return self._has_answered or now - self._connected_at >= self._policy.max_wait_s

    def asked(self, now: float) -> None:
        """The provider was asked for an answer."""
        self._owed_since = now

    def interrupted(self) -> None:
        """Nobody wants the answer any more; what is still said of it is not heard here."""
        self._owed_since = None

    def deaf(self) -> None:
        """Nobody listens, as the loop is slow: the provider cannot be blamed."""
        self._is_deaf = True

    def listens(self, now: float) -> None:
        """Somebody listens again."""
        self._is_deaf = False
        self._out_since = None
        if self._owed_since is not None:
            self._owed_since = now

    def went_out(self, now: float) -> None:
        """A frame was given to the provider."""
        if self._out_since is None:
            self._out_since = now

    def due(self, now: float) -> RealtimeRestartReason | None:
        """Why the connection is to be replaced at once; None: it is not."""
        if now >= self._stalled_at:
            return _Reason.STALLED
        if self._planned is None and now >= self._old_at:
            self._plan(_Reason.AGE, now, None)
        if self._planned is not None and (self.turn.is_over or now >= self._latest):
            return self._planned
        return None

    @property
    def is_owed(self) -> bool:
        """Whether the provider owes an answer, or the rest of one."""
        return self._owed_since is not None

    @property
    def is_planned(self) -> bool:
        """Whether a restart waits for the end of a turn."""
        return self._planned is not None

    @property
    def deadline(self) -> float:
        """When to ask again, unless something is heard before; infinite: only then."""
        return min(self._stalled_at, self._old_at if self._planned is None else self._latest)

    @property
    def _stalled_at(self) -> float:
        if self._is_deaf:
            return math.inf
        policy = self._policy
        return min(
            _after(self._out_since, policy.stalled_after_s),
            _after(self._owed_since, policy.unanswered_after_s),
        )

    def _plan(self, reason: RealtimeRestartReason, now: float, time_left_s: float | None) -> None:
        wait = self._policy.turn_wait_s
        if time_left_s is not None:
            wait = min(wait, max(0.0, time_left_s * _SHARE_OF_TIME_LEFT))
        self._planned = reason
        self._latest = min(self._latest, now + wait)


def _after(since: float | None, seconds: float | None) -> float:
    return math.inf if since is None or seconds is None else since + seconds
