"""
One frame on the wire: its intent, the adapter's call, and what its success or failure means.

Whoever transmits holds the wire; order is `sending`'s concern.
"""

from __future__ import annotations

from collections.abc import Callable
from functools import partial
from typing import Any

import attrs

from realtime_async._core.cursors import CursorLabel, StreamCursor
from realtime_async._core.lifecycle import Phase
from realtime_async._core.spans import SPANNED_KINDS
from realtime_async._raised import is_failure
from realtime_async._shell.flights import Flight
from realtime_async._shell.gate import Gated
from realtime_async._shell.gating import Gating, input_fields
from realtime_async._shell.lane import Appended
from realtime_async._shell.runtime import SessionRuntime, recorded
from realtime_async._shell.spanning import SpanBook
from realtime_async.errors import AgentError, JournalFailure, ProviderConnectionLost, RetryClassification
from realtime_async.ports import (
    RealtimeInputFrame,
    RealtimeMediaKind,
    RealtimeSessionRecord,
    RealtimeSessionRecordKind,
    StreamChannel,
    StreamDirection,
)

__all__ = ["Transmitting", "Turn"]

_Kind = RealtimeSessionRecordKind
_SPAN_FIELDS: dict[str, Any] = {
    "channel": StreamChannel.REALTIME_MEDIA,
    "direction": StreamDirection.INPUT_TO_PROVIDER,
    "media_kind": RealtimeMediaKind.AUDIO,
}


def _unset(error: AgentError, flight: Flight) -> None:
    """What a failure means is set when the frame has its number; no call fails before."""
    raise AssertionError(f"{flight.name} failed before it had a number") from error


@attrs.define(eq=False)
class Turn(Flight):
    """One frame on its way, and the call that sends it: one object, as two that know each other only the collector frees."""

    name: str = "send"
    on_failure: Callable[[AgentError, Flight], Appended | None] = _unset
    frame: RealtimeInputFrame = attrs.field(kw_only=True)
    since: float = attrs.field(kw_only=True)
    yields: bool = False
    """It lets the others run before it begins."""
    has_the_line: bool = False
    """It need not wait for it."""
    waits_for_the_journal: bool = False
    accepted: bool = False
    """Its first record is begun, or its span's intent serves as that."""
    on_accepted: Callable[[], None] | None = None
    """Lets the next frame have its turn."""
    intent: Appended | None = None
    """Of this frame alone."""
    fields: dict[str, Any] = attrs.field(factory=dict)
    """What its records say of it, once it has an intent of its own."""
    stamped: RealtimeInputFrame | None = None
    """With its number."""
    gated: Appended | None = None
    """Set where the frame, though its call failed, waits in the gate."""

    def accept(self) -> None:
        self.accepted = True
        if self.on_accepted is not None:
            self.on_accepted()


class Transmitting:
    def __init__(self, rt: SessionRuntime, gating: Gating) -> None:
        self._rt = rt
        self._gating = gating
        self.book = SpanBook(
            rt,
            rt.sidecar.span,
            CursorLabel.SEND,
            requested=_Kind.INPUT_SEND_REQUESTED,
            done=_Kind.INPUT_SENT,
            position=lambda: rt.life.send_cursor,
            fields=_SPAN_FIELDS,
        )
        self._has_spans = rt.sidecar.span is not None
        self._span_in_flight = False
        self._span_ends_after_flight = False

    def is_spanned(self, frame: RealtimeInputFrame) -> bool:
        return self._has_spans and frame.media_kind in SPANNED_KINDS

    def end_span(self) -> None:
        """End the span that is open; one with a frame in flight ends with that frame."""
        if self._span_in_flight:
            self._span_ends_after_flight = True
        else:
            self.book.end()

    # -- at once

    def at_once(self, frame: RealtimeInputFrame, now: float) -> RealtimeSessionRecord | Turn:
        """Send a frame whose turn it is; or its turn, where something has to be awaited."""
        if not self._has_spans or frame.media_kind not in SPANNED_KINDS:
            return self._alone_at_once(frame, now)
        rt, life = self._rt, self._rt.life
        if not self.book.is_ready(now):
            return Turn(frame=frame, since=now)
        number = life.send_cursor.chunk_sequence + 1
        cursor = StreamCursor(number)
        stamped = frame.stamped(cursor)
        try:
            is_taken = rt.takes is not None and rt.takes(life.session_id, stamped)
        except BaseException as raised:  # noqa: BLE001 - recorded, and raised again
            return self._refused(Turn(frame=frame, since=now, stamped=stamped), raised)
        if not is_taken:
            return Turn(frame=frame, since=now, stamped=stamped, on_failure=self._failed)
        life.send_cursor = cursor
        rt.totals.sent += 1
        rt.tail.add(number, frame, now)
        return self.book.add(number, frame.payload, now).record.payload

    def _alone_at_once(self, frame: RealtimeInputFrame, now: float) -> RealtimeSessionRecord | Turn:
        """Send a frame under its own intent; or its turn, with that begun."""
        rt = self._rt
        self.book.end()
        stamped = frame.stamped(rt.life.next_send())
        fields = input_fields(frame)
        intent = rt.append(_Kind.INPUT_SEND_REQUESTED, **fields)
        if rt.takes is not None and intent.is_durable:
            try:
                is_taken = rt.takes(rt.life.session_id, stamped)
            except BaseException as raised:  # noqa: BLE001 - recorded, and raised again
                return self._refused(self._begun(frame, now, stamped, intent, fields), raised)
            if is_taken:
                self._count_sent(frame, stamped, now)
                return rt.append(_Kind.INPUT_SENT, intent, **fields).record.payload
        return self._begun(frame, now, stamped, intent, fields)

    def _begun(
        self,
        frame: RealtimeInputFrame,
        now: float,
        stamped: RealtimeInputFrame,
        intent: Appended,
        fields: dict[str, Any],
    ) -> Turn:
        """The turn of a frame whose intent is begun: most need none, as nothing has to be awaited for them."""
        turn = Turn(frame=frame, since=now, accepted=True, intent=intent, fields=fields, stamped=stamped)
        turn.on_failure = self._failed
        return turn

    def _refused(self, turn: Turn, raised: BaseException) -> RealtimeSessionRecord:
        turn.on_failure = self._failed
        turn.started = True
        turn.accepted = True
        error = self._rt.failure_of(turn, raised)
        turn.fail(error)
        if turn.gated is not None:
            return turn.gated.record.payload
        # Ctrl-C comes wherever the program is, on Trio inside this call too.
        if error is raised or not is_failure(raised):
            raise raised
        raise error from raised

    # -- in the flight's scope

    async def transmit(self, turn: Turn) -> Appended | None:
        """Send the frame; None: the phase changed before it was accepted."""
        if self.is_spanned(turn.frame):
            return await self._spanned(turn)
        return await self.alone(turn)

    async def _spanned(self, turn: Turn) -> Appended | None:
        rt = self._rt
        if not self.book.is_ready(rt.now()):
            turn.waits_for_the_journal = True
            await self.book.get_ready()
            turn.waits_for_the_journal = False
            if rt.life.phase is not Phase.OPEN:
                return None
        self._stamp(turn)
        return await self._in_span(turn)

    async def numbered(self, turn: Turn) -> Appended:
        """Send a frame that has its number, under its own intent or in the open span."""
        return await (self._in_span(turn) if turn.intent is None else self.alone(turn))

    async def _in_span(self, turn: Turn) -> Appended:
        rt, stamped = self._rt, turn.stamped
        assert stamped is not None
        turn.accept()
        self._span_in_flight = True
        try:
            await rt.perform(turn, None, partial(self._call, stamped))
            return self._spanned_sent(turn.frame, stamped, rt.now())
        finally:
            self._span_in_flight = False
            self._span_ends_after_flight = False

    async def alone(self, turn: Turn) -> Appended:
        """Send a frame under an intent of its own."""
        if turn.intent is None:
            self._begin_alone(turn)
        stamped = turn.stamped
        assert stamped is not None
        await self._rt.perform(turn, turn.intent, partial(self._call, stamped))
        self._count_sent(turn.frame, stamped, self._rt.now())
        return self._rt.append(_Kind.INPUT_SENT, turn.intent, **turn.fields)

    def _begin_alone(self, turn: Turn) -> None:
        self.book.end()
        self._stamp(turn)
        turn.fields = input_fields(turn.frame)
        turn.intent = self._rt.append(_Kind.INPUT_SEND_REQUESTED, **turn.fields)
        turn.accept()

    def _stamp(self, turn: Turn) -> RealtimeInputFrame:
        turn.stamped = turn.frame.stamped(self._rt.life.next_send())
        turn.on_failure = self._failed
        return turn.stamped

    async def _call(self, stamped: RealtimeInputFrame) -> None:
        rt = self._rt
        # The phase may say more already: that it is replaced, or that the session closes.
        if rt.lost_at is not None:
            raise ProviderConnectionLost("the connection was lost before the frame was sent", delivered=False)
        if rt.takes is None or not rt.takes(rt.life.session_id, stamped):
            await rt.adapter.send(rt.life.session_id, stamped)

    # -- how it ended

    def _spanned_sent(self, frame: RealtimeInputFrame, stamped: RealtimeInputFrame, now: float) -> Appended:
        intent = self.book.add(self._count_sent(frame, stamped, now), frame.payload, now)
        if self._span_ends_after_flight:
            self.book.end()
        return intent

    def _count_sent(self, frame: RealtimeInputFrame, stamped: RealtimeInputFrame, now: float) -> int:
        self._rt.totals.sent += 1
        return self._took_number(frame, stamped, now)

    def _took_number(self, frame: RealtimeInputFrame, stamped: RealtimeInputFrame, now: float) -> int:
        cursor = stamped.cursor
        assert cursor is not None
        self._rt.life.send_cursor = cursor
        self._rt.tail.add(cursor.chunk_sequence, frame, now)
        return cursor.chunk_sequence

    def _failed(self, error: AgentError, turn: Flight) -> Appended:
        assert isinstance(turn, Turn)
        rt = self._rt
        lost = isinstance(error, ProviderConnectionLost)
        in_doubt = turn.started and _is_unknown(error)
        if in_doubt:
            # Whoever goes by this must not send the frame again.
            error.retry = RetryClassification.UNKNOWN_OUTCOME
            assert turn.stamped is not None
            rt.totals.doubt(self._took_number(turn.frame, turn.stamped, rt.now()))
        kept = lost and not in_doubt and rt.life.phase is not Phase.CLOSING
        fields = {**input_fields(turn.frame), "error": recorded(error)}
        try:
            if turn.intent is None:
                result = self.book.fail(_Kind.INPUT_SEND_FAILED, fields)
            else:
                result = rt.append(_Kind.INPUT_SEND_FAILED, turn.intent, **fields)
        except JournalFailure:
            # No record tells how the call ended: to whoever resumes the session its intent is open.
            rt.totals.in_doubt += turn.started and not in_doubt
            raise
        turn.result = result
        rt.totals.failed += not in_doubt
        rt.lost_if(error)
        if kept:
            turn.gated = self._gating.put_first(Gated(turn.frame, turn.since))
            # That was not its end.
            rt.totals.failed -= 1
        return result


def _is_unknown(error: AgentError) -> bool:
    """Whether a call that failed so, once it was made, may have delivered."""
    if isinstance(error, ProviderConnectionLost):
        return error.delivered is not False
    return error.retry is RetryClassification.UNKNOWN_OUTCOME
