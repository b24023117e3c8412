"""
What was said to the provider, and what of it the provider has taken into the conversation.

A connection that dies forgets what it had not taken; what it had, this side has kept, and puts back.
"""

from __future__ import annotations

from collections import deque

import attrs

from realtime_async.adapters.openai.timeline import InputTimeline

__all__ = ["Committed", "InputAudio"]


@attrs.frozen
class Committed:
    """A piece of speech that is part of the conversation."""

    audio: tuple[bytes, ...] | None = attrs.field(repr=False)
    """None: it is too long to be kept whole; empty: it was cleared here before, or is part of another piece."""
    after: int
    """The last frame before it."""
    audio_end_ms: int
    """Where it ends in the session's input audio."""


# Not frozen: one is built per frame, in half the time.
@attrs.define
class _Piece:
    number: int
    connection_at: int
    """In bytes."""
    audio: bytes = attrs.field(repr=False)

    @property
    def connection_end(self) -> int:
        return self.connection_at + len(self.audio)


@attrs.define
class _Commit:
    """One that we asked for, and that isn't confirmed."""

    event_id: str
    number: int
    connection_ms: int
    cleared_by: int = 0
    """The last frame that cleared what came after it; 0: none did."""
    cleared_at: int = 0
    """Where that was, in bytes of this connection."""


class InputAudio:
    """
    The input since the last commit, and its positions.

    Of that, at most `BYTES` are kept; where the provider finds the turns, what lies some seconds before the
    present is kept only while somebody speaks.
    """

    BYTES = 2 * 2**20
    SILENCE_S = 5
    # Commits that aren't confirmed; a provider that owes so many confirms none.
    COMMITS = 32

    def __init__(self, bytes_per_second: int) -> None:
        self._bytes_per_ms = bytes_per_second // 1000
        self.timeline = InputTimeline(self._bytes_per_ms)
        self.settled_through = 0
        """Up to this frame, all audio is in the conversation, or was cleared."""
        self._last_audio = 0
        self._pieces: deque[_Piece] = deque()
        self._bytes = 0
        self._kept_from = 0
        """Where the kept pieces begin, in bytes of this connection."""
        self._settled_at = 0
        """Where the last commit or clear ended, in bytes of this connection."""
        self._speech: tuple[int, int | None] | None = None
        """From and to where somebody spoke, in ms of this connection."""
        self._commits: deque[_Commit] = deque()
        self._forgotten_commits = 0
        """How many, older than all of these, were never confirmed."""
        self.finds_turns = False
        """Whether the provider finds the turns."""

    @property
    def kept_through(self) -> int:
        """The frame up to which a new connection needs no audio again."""
        return self.settled_through if self._last_audio > self.settled_through else self.timeline.last_number

    def sent(self, number: int, audio: bytes) -> None:
        at = self.timeline.connection_bytes
        self.timeline.sent(number, len(audio))
        self._last_audio = max(self._last_audio, number)
        self._pieces.append(_Piece(number, at, audio))
        self._bytes += len(audio)
        limit = self.BYTES
        if self.finds_turns and self._speech is None and not self._commits:
            limit = self.SILENCE_S * 1000 * self._bytes_per_ms
        while self._bytes > limit:
            self._forget_first()

    def _forget_first(self) -> None:
        piece = self._pieces.popleft()
        self._bytes -= len(piece.audio)
        self._kept_from = piece.connection_end

    def speech_started(self, connection_ms: int | None) -> int | None:
        """Return the position in the session."""
        if connection_ms is None:
            return None
        self._speech = (connection_ms, None)
        return self.timeline.session_ms(connection_ms)

    def speech_stopped(self, connection_ms: int | None) -> int | None:
        """Return the position in the session."""
        if connection_ms is None:
            return None
        begun = self._kept_from // self._bytes_per_ms if self._speech is None else self._speech[0]
        self._speech = (begun, connection_ms)
        return self.timeline.session_ms(connection_ms)

    @property
    def awaits_commit(self) -> bool:
        """Whether a commit that we asked for isn't confirmed."""
        return bool(self._commits)

    def commit_sent(self, number: int, event_id: str) -> None:
        self._commits.append(_Commit(event_id, number, self.timeline.connection_ms))
        if len(self._commits) > self.COMMITS:
            self._commits.popleft()
            self._forgotten_commits += 1

    @property
    def has_found_turn(self) -> bool:
        """Whether the provider has heard the end of a turn, so that the next commit is its own."""
        return self._speech is not None and self._speech[1] is not None

    def commit_refused(self, event_id: str | None) -> None:
        """Forget the commit that *event_id* asked for; None: the oldest."""
        refused = next((commit for commit in self._commits if event_id in {None, commit.event_id}), None)
        if refused is None:
            return
        at = self._commits.index(refused)
        self._commits.remove(refused)
        if not refused.cleared_by:
            return
        # What was cleared is no part of the turn that comes after it; the one before is still waited for.
        if at == 0:
            self._clear(refused.cleared_by, refused.cleared_at)
            return
        before = self._commits[at - 1]
        before.cleared_by, before.cleared_at = refused.cleared_by, refused.cleared_at

    def awaits_commit_before(self, number: int) -> bool:
        """Whether a commit that was asked for before frame *number* isn't confirmed."""
        return any(commit.number < number for commit in self._commits)

    def cleared(self, number: int) -> None:
        """All audio before frame *number* is forgotten, on purpose, but for what was to be committed before."""
        here = self.timeline.connection_bytes
        # The provider may have found a turn before it is told, so where that was is still to be known.
        if not self._commits:
            self._clear(number, here)
            return
        # The provider takes them in order: until it has said so, a new connection needs that turn again.
        last = self._commits[-1]
        last.cleared_by, last.cleared_at = number, here
        while self._pieces and self._pieces[-1].connection_at >= last.connection_ms * self._bytes_per_ms:
            self._bytes -= len(self._pieces.pop().audio)

    def _clear(self, number: int, connection_end: int) -> None:
        self.settled_through = max(self.settled_through, number)
        self._settle(connection_end)

    def committed(self) -> Committed:
        """The provider has taken the turn that ended last, or that we have ended."""
        asked = self._asked()
        begins_ms, ends_ms = self._range(asked)
        # Some servers let the padding before a turn reach into the turn before, which has that audio.
        begins, ends = max(begins_ms * self._bytes_per_ms, self._settled_at), ends_ms * self._bytes_per_ms
        # The provider took it before it was told to forget it: nobody wants it back.
        is_settled = begins_ms < ends_ms and ends <= self._settled_at
        through = max(self.settled_through, self.timeline.last_ended_by(ends_ms))
        inside = [
            piece for piece in self._pieces if piece.connection_end > begins and piece.number <= through
        ]
        is_whole = bool(inside) and begins >= self._kept_from
        after = inside[0].number - 1 if is_whole else self.settled_through
        self.settled_through = through if asked is None else max(through, asked.number)
        self._settle(ends)
        if asked is not None and asked.cleared_by:
            self._clear(asked.cleared_by, asked.cleared_at)
        self._speech = None
        audio = tuple(piece.audio for piece in inside) if is_whole or is_settled else None
        return Committed(audio, after, self.timeline.session_ms(ends_ms))

    def _asked(self) -> _Commit | None:
        """Take the commit of ours that the provider confirms; None: it is its own, or one that was forgotten."""
        # It commits a turn that it has found at once; a commit of ours that it met finds what is left, or nothing.
        if self.has_found_turn or self._forgotten_commits or not self._commits:
            return None
        return self._commits.popleft()

    def _range(self, asked: _Commit | None) -> tuple[int, int]:
        """From and to where the committed turn goes, in ms of this connection."""
        settled_ms = self._settled_at // self._bytes_per_ms
        if asked is not None:
            return settled_ms, asked.connection_ms
        if self._speech is not None and self._speech[1] is not None:
            return self._speech[0], self._speech[1]
        if self._forgotten_commits:
            # Which turn that was is not known any more, so it settles nothing, and is said again where it must be.
            self._forgotten_commits -= 1
            return settled_ms, settled_ms
        # The provider doesn't say, so it is what was said of late.
        return self._kept_from // self._bytes_per_ms, self.timeline.connection_ms

    def _settle(self, connection_end: int) -> None:
        self._settled_at = max(self._settled_at, connection_end)
        while self._pieces and self._pieces[0].connection_end <= connection_end:
            self._forget_first()

    def reconnected(self, kept_through: int) -> None:
        """The new connection knows the frames up to *kept_through*, and has heard nothing."""
        self.timeline.reconnected()
        # What was said after that is still unsettled, and stays so until it was replayed and committed.
        self.settled_through = min(self.settled_through, kept_through)
        self._pieces.clear()
        self._bytes = 0
        self._kept_from = self._settled_at = 0
        self._speech = None
        self._commits.clear()
        self._forgotten_commits = 0
