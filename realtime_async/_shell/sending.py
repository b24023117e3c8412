"""
The way of an outbound frame: to the provider, or into the gate.

Two locks keep the order.
`line` is held by the frame whose turn it is until it is accepted; `wire` by whoever may call the
adapter's `send`: that frame, a drain, or a restart that wants nobody to.
"""

from __future__ import annotations

from collections.abc import Mapping
from functools import partial
from typing import Any

import anyio
import anyio.lowlevel
import attrs

from realtime_async._core.cursors import CursorLabel
from realtime_async._core.frames import DEFAULT_AUDIO, payload_bytes, whole_samples
from realtime_async._core.lifecycle import Operation, Phase, Verdict, refusal
from realtime_async._core.sidecar import RealtimeOverflowPolicy
from realtime_async._core.spans import SPANNED_KINDS
from realtime_async._shell.gate import GateChannel, Gated
from realtime_async._shell.lane import Appended
from realtime_async._shell.replaying import Replay
from realtime_async._shell.runtime import CALLS_PER_YIELD, Flight, SessionRuntime, recorded
from realtime_async._shell.spanning import SpanBook
from realtime_async.errors import (
    AgentError,
    BackpressureOverflow,
    ContractViolation,
    DeadlineExceeded,
    ProviderConnectionLost,
    RetryClassification,
)
from realtime_async.ports import (
    RealtimeBackpressureAction,
    RealtimeInputFrame,
    RealtimeMediaKind,
    RealtimeSessionRecord,
    RealtimeSessionRecordKind,
    StreamChannel,
    StreamDirection,
)

__all__ = ["Sending", "input_fields"]

_Kind = RealtimeSessionRecordKind

# A kind that is missing goes on realtime_media.
_CHANNEL: Mapping[RealtimeMediaKind, StreamChannel] = {
    RealtimeMediaKind.TEXT: StreamChannel.ASSISTANT_TEXT,
    RealtimeMediaKind.TOOL_RESULT: StreamChannel.TOOL_RESULT_TEXT,
    RealtimeMediaKind.TRANSCRIPT: StreamChannel.REALTIME_TRANSCRIPT,
}
_SPAN_FIELDS = {
    "channel": StreamChannel.REALTIME_MEDIA,
    "direction": StreamDirection.INPUT_TO_PROVIDER,
    "media_kind": RealtimeMediaKind.AUDIO,
}


def input_fields(frame: RealtimeInputFrame) -> dict[str, Any]:
    """What the records of *frame* say of it."""
    return {
        "frame_id": frame.frame_id,
        "media_kind": frame.media_kind,
        "content_refs": frame.content_refs,
        "privacy": frame.privacy,
        "retention": frame.retention,
        "redacted_summary": frame.redacted_summary,
        "channel": _CHANNEL.get(frame.media_kind, StreamChannel.REALTIME_MEDIA),
        "direction": StreamDirection.INPUT_TO_PROVIDER,
    }


@attrs.define(eq=False)
class _Turn:
    """One frame on its way."""

    frame: RealtimeInputFrame
    since: float
    flight: Flight
    accepted: bool = False
    gated: Appended | None = None
    """Set where the frame, though its call failed, waits in the gate."""


class Sending:
    """Sends frames in the order of their acceptance."""

    def __init__(self, rt: SessionRuntime) -> None:
        self.rt = rt
        self.gate = GateChannel(rt.sidecar.queue_capacity)
        self.line = anyio.Lock(fast_acquire=True)
        self.wire = anyio.Lock(fast_acquire=True)
        self.book = SpanBook(
            rt,
            rt.sidecar.span,
            CursorLabel.SEND,
            requested=_Kind.INPUT_SEND_REQUESTED,
            done=_Kind.INPUT_SENT,
            position=lambda: rt.life.send_cursor,
            fields=_SPAN_FIELDS,
        )
        self.replay = Replay(rt)
        self.drained: list[int] = []
        """Cursors of the frames that a drain sent."""
        self._takes = rt.takes
        self._under_way = 0
        self._calls = 0
        self._span_in_flight = False
        self._span_ends_after_flight = False

    @property
    def queued(self) -> int:
        """Frames accepted whose end is not known: in the gate, or in flight."""
        in_flight = sum(1 for flight in self.rt.flights if flight.name == "send" and not flight.settled)
        return len(self.gate) + in_flight

    def check(self, frame: RealtimeInputFrame) -> None:
        """
        Find out whether *frame* can be sent at all.

        Raises:
            ContractViolation: It is too large, or cut within a sample.
        """
        if not isinstance(frame, RealtimeInputFrame):
            raise ContractViolation(
                f"send takes a RealtimeInputFrame, not {type(frame).__name__}: build one with its constructors"
            )
        size = payload_bytes(frame.payload)
        if size > self.rt.sidecar.max_frame_bytes:
            raise ContractViolation(
                f"frame {str(frame.frame_id)!r} has {size} bytes, the sidecar's max_frame_bytes are "
                f"{self.rt.sidecar.max_frame_bytes}: send it in parts, or allow more"
            )
        if frame.media_kind is RealtimeMediaKind.AUDIO and isinstance(frame.payload, bytes):
            whole_samples(frame.payload, frame.audio_format or self.rt.adapter.input_format or DEFAULT_AUDIO)

    async def send(self, frame: RealtimeInputFrame) -> RealtimeSessionRecord:
        rt = self.rt
        rt.check()
        self.check(frame)
        rt.life.demand(Operation.SEND)
        await self._yield_sometimes()
        now = rt.now()
        record = self._at_once(frame, now)
        if record is not None:
            return record
        turn = _Turn(frame, now, Flight("send", _unset))
        self._under_way += 1
        try:
            with anyio.CancelScope(deadline=now + rt.deadlines.send) as turn.flight.scope:
                return await self._in_turn(turn)
        except ProviderConnectionLost:
            if turn.gated is None:
                raise
        except BaseException:
            rt.totals.refused += not turn.accepted
            raise
        finally:
            self._under_way -= 1
        return self._swallowed(turn)

    def _swallowed(self, turn: _Turn) -> RealtimeSessionRecord:
        """How a send ended whose own scope was cancelled, or whose frame went back to the gate."""
        if turn.gated is not None:
            return turn.gated.record.payload
        if turn.flight.error is not None:
            raise turn.flight.error
        self.rt.totals.refused += not turn.accepted
        self.rt.check()
        raise DeadlineExceeded(
            f"frame {str(turn.frame.frame_id)!r} waited {self.rt.now() - turn.since:.3g} s for its turn and was not "
            f"accepted; session {str(self.rt.life.session_id)!r} is {self.rt.life.phase}: "
            "restart it, or send less at once"
        )

    async def _yield_sometimes(self) -> None:
        self._calls += 1
        if self._calls < CALLS_PER_YIELD:
            return
        self._calls = 0
        try:
            await anyio.lowlevel.checkpoint()
        except BaseException:
            self.rt.totals.refused += 1
            raise
        self.rt.check()
        self.rt.life.demand(Operation.SEND)

    # -- at once: nobody is before this frame, and nothing has to be awaited

    def _at_once(self, frame: RealtimeInputFrame, now: float) -> RealtimeSessionRecord | None:
        rt = self.rt
        if self._under_way or self.wire.locked():
            return None
        if rt.life.phase is not Phase.OPEN:
            return self._gate_at_once(frame, now)
        if self._takes is None or len(self.gate) or self.replay.is_due or not self._is_spanned(frame):
            return None
        if not self.book.is_ready(now):
            return None
        cursor = rt.life.next_send()
        stamped = frame.stamped(cursor)
        try:
            if not self._takes(rt.life.session_id, stamped):
                return None
        except Exception as raised:  # noqa: BLE001 - recorded, and raised again
            return self._refused_at_once(frame, stamped, raised, now)
        return self._spanned_sent(stamped, now)

    def _gate_at_once(self, frame: RealtimeInputFrame, now: float) -> RealtimeSessionRecord | None:
        if self.rt.life.verdict(Operation.SEND) is not Verdict.GATE or self.gate.is_full:
            return None
        return self._gate(frame, now, RealtimeBackpressureAction.GATE).record.payload

    def _refused_at_once(
        self, frame: RealtimeInputFrame, stamped: RealtimeInputFrame, raised: Exception, now: float
    ) -> RealtimeSessionRecord:
        turn = _Turn(frame, now, Flight("send", _unset))
        turn.flight.started = True
        error = self.rt.failure_of(turn.flight, raised)
        self._failed(turn, stamped, None, error, turn.flight)
        if turn.gated is not None:
            return turn.gated.record.payload
        if error is raised:
            raise raised
        raise error from raised

    def _is_spanned(self, frame: RealtimeInputFrame) -> bool:
        return self.rt.sidecar.span is not None and frame.media_kind in SPANNED_KINDS

    # -- in turn

    async def _in_turn(self, turn: _Turn) -> RealtimeSessionRecord:
        scope = turn.flight.scope
        assert scope is not None
        if self.rt.life.verdict(Operation.SEND) is Verdict.GATE and self.gate.is_full:
            scope.deadline = turn.since + self.rt.deadlines.gate
        async with self.line:
            while True:
                self.rt.check()
                match self.rt.life.verdict(Operation.SEND):
                    case Verdict.GO:
                        record = await self._on_the_wire(turn)
                    case Verdict.GATE:
                        record = await self._into_the_gate(turn)
                    case _:
                        raise refusal(Operation.SEND, self.rt.life.phase, self.rt.life.session_id)
                if record is not None:
                    return record

    async def _on_the_wire(self, turn: _Turn) -> RealtimeSessionRecord | None:
        """Send the frame; None: the phase changed before it was accepted."""
        async with self.wire:
            if self.rt.life.phase is not Phase.OPEN:
                return None
            if len(self.gate) or self.replay.is_due:
                await self.drain([])
                if self.rt.life.phase is not Phase.OPEN:
                    return None
            if self._is_spanned(turn.frame):
                return await self._send_spanned(turn)
            return (await self._send_alone(turn)).record.payload

    async def _send_spanned(self, turn: _Turn) -> RealtimeSessionRecord | None:
        rt = self.rt
        if not self.book.is_ready(rt.now()):
            await self.book.get_ready()
            if rt.life.phase is not Phase.OPEN:
                return None
        turn.accepted = True
        stamped = turn.frame.stamped(rt.life.next_send())
        turn.flight.on_failure = partial(self._failed, turn, stamped, None)
        self._span_in_flight = True
        try:
            await rt.perform(turn.flight, None, partial(self._call, stamped))
            return self._spanned_sent(stamped, rt.now())
        finally:
            self._span_in_flight = False
            self._span_ends_after_flight = False

    def _spanned_sent(self, stamped: RealtimeInputFrame, now: float) -> RealtimeSessionRecord:
        number = self._took_number(stamped, now)
        self.rt.totals.sent += 1
        intent = self.book.add(number, stamped.payload, now)
        if self._span_ends_after_flight:
            self._span_ends_after_flight = False
            self.book.end()
        return intent.record.payload

    async def _send_alone(self, turn: _Turn) -> Appended:
        """Send a frame that has an intent and a result of its own."""
        rt = self.rt
        self.book.end()
        fields = input_fields(turn.frame)
        stamped = turn.frame.stamped(rt.life.next_send())
        turn.accepted = True
        intent = rt.append(_Kind.INPUT_SEND_REQUESTED, **fields)
        turn.flight.on_failure = partial(self._failed, turn, stamped, intent)
        await rt.perform(turn.flight, intent, partial(self._call, stamped))
        self._took_number(stamped, rt.now())
        rt.totals.sent += 1
        return rt.append(_Kind.INPUT_SENT, intent, **fields)

    async def _call(self, stamped: RealtimeInputFrame) -> None:
        session_id = self.rt.life.session_id
        if self.rt.life.phase is Phase.LOST:
            raise ProviderConnectionLost("the connection was lost before the frame was sent", delivered=False)
        if self._takes is None or not self._takes(session_id, stamped):
            await self.rt.adapter.send(session_id, stamped)

    def _took_number(self, stamped: RealtimeInputFrame, now: float) -> int:
        assert stamped.cursor is not None
        self.rt.life.send_cursor = stamped.cursor
        number = stamped.cursor.chunk_sequence
        self.rt.tail.add(number, stamped, now)
        return number

    # -- what a failure means for a frame

    def _failed(
        self,
        turn: _Turn,
        stamped: RealtimeInputFrame,
        intent: Appended | None,
        error: AgentError,
        flight: Flight,
    ) -> None:
        """Record that the call of a frame failed; *intent* is None where that is its span's."""
        rt = self.rt
        turn.accepted = True
        lost = isinstance(error, ProviderConnectionLost)
        in_doubt = flight.started and _is_unknown(error)
        if in_doubt:
            rt.totals.doubt(self._took_number(stamped, rt.now()))
        kept = lost and not in_doubt and rt.life.phase is not Phase.CLOSING
        rt.totals.failed += not in_doubt and not kept
        fields = {**input_fields(turn.frame), "error": recorded(error, in_doubt=in_doubt)}
        if intent is None:
            self.book.fail(_Kind.INPUT_SEND_FAILED, fields)
        else:
            rt.append(_Kind.INPUT_SEND_FAILED, intent, **fields)
        if lost:
            rt.connection_lost()
        if kept:
            turn.gated = self._gate_first(Gated(turn.frame, turn.since))

    # -- the gate

    async def _into_the_gate(self, turn: _Turn) -> RealtimeSessionRecord | None:
        """Put the frame into the gate; None: the phase changed while it waited for room."""
        action = RealtimeBackpressureAction.GATE
        scope = turn.flight.scope
        assert scope is not None
        while self.gate.is_full:
            match self.rt.sidecar.overflow_policy:
                case RealtimeOverflowPolicy.FAIL_SEND:
                    raise BackpressureOverflow(
                        f"the gate of session {str(self.rt.life.session_id)!r} is full with {len(self.gate)} "
                        "frames: wait for the restart, or give the sidecar a larger queue_capacity"
                    )
                case RealtimeOverflowPolicy.DROP_NONCRITICAL if self._evict():
                    action = RealtimeBackpressureAction.DROP_NONCRITICAL
                case _:
                    scope.deadline = turn.since + self.rt.deadlines.gate
                    await self.rt.changed.wait()
                    self.rt.check()
                    if self.rt.life.verdict(Operation.SEND) is not Verdict.GATE:
                        return None
                    action = RealtimeBackpressureAction.BLOCK
        turn.accepted = True
        return self._gate(turn.frame, self.rt.now(), action).record.payload

    def _gate(self, frame: RealtimeInputFrame, since: float, action: RealtimeBackpressureAction) -> Appended:
        self.gate.put(Gated(frame, since))
        self.rt.life.gated(action)
        return self._backpressure(frame)

    def _gate_first(self, gated: Gated) -> Appended:
        self.gate.put_first(gated)
        self.rt.life.gated(RealtimeBackpressureAction.GATE)
        return self._backpressure(gated.frame)

    def _backpressure(self, frame: RealtimeInputFrame) -> Appended:
        return self.rt.append(_Kind.BACKPRESSURE_APPLIED, **input_fields(frame))

    def _evict(self) -> bool:
        evicted = self.gate.evict(lambda frame: not frame.critical)
        if evicted is None:
            return False
        self._drop(evicted)
        return True

    def _drop(self, gated: Gated) -> Appended:
        self.rt.life.dropped()
        self.rt.totals.dropped += 1
        return self.rt.append(_Kind.INPUT_DROPPED, **input_fields(gated.frame))

    def drop_all(self) -> None:
        """Give up every gated frame, each in a record of its own."""
        for gated in self.gate.take_all():
            self._drop(gated)

    # -- after a restart

    async def drain(self, records: list[Appended]) -> None:
        """
        Send what waits: the rest of the tail, then the gate; the caller holds the wire.

        It ends early where the phase does not allow to go on.
        """
        await self.replay.run(records)
        handled = 0
        while len(self.gate) and self.rt.life.phase is Phase.OPEN:
            gated = self.gate.take()
            self.rt.changed.notify()
            await self._drain_one(gated, records)
            handled += 1
            if handled % CALLS_PER_YIELD == 0:
                await anyio.lowlevel.checkpoint()

    async def _drain_one(self, gated: Gated, records: list[Appended]) -> None:
        rt = self.rt
        now = rt.now()
        stale_after = rt.sidecar.stale_after_s
        if stale_after is not None and now - gated.since > stale_after:
            records.append(self._drop(gated))
            return
        rt.life.ungated()
        turn = _Turn(gated.frame, gated.since, Flight("send", _unset))
        try:
            with anyio.CancelScope(deadline=now + rt.deadlines.send) as turn.flight.scope:
                records.append(await self._send_alone(turn))
                self.drained.append(rt.life.send_cursor.chunk_sequence)
        except AgentError:
            rt.check()
        except BaseException:
            if turn.flight.error is not None and not turn.flight.started:
                self._take_back(gated)
            raise
        if turn.flight.error is not None and rt.last_append is not None:
            records.append(rt.last_append)

    def _take_back(self, gated: Gated) -> None:
        """The drain was cancelled before this frame's call: it goes on waiting."""
        if self.rt.life.phase is Phase.CLOSING:
            return
        self.rt.totals.failed -= 1
        self._gate_first(gated)

    def end_span(self) -> None:
        """End the span that is open; one with a frame in flight ends with that frame."""
        if self._span_in_flight:
            self._span_ends_after_flight = True
            return
        self.book.end()


def _is_unknown(error: AgentError) -> bool:
    if isinstance(error, ProviderConnectionLost):
        return error.delivered is not False
    return error.retry is RetryClassification.UNKNOWN_OUTCOME


def _unset(error: AgentError, flight: Flight) -> None:
    """What a failure means is set when the frame has its intent; no call fails before."""
    raise AssertionError(f"{flight.name} failed before it had an intent") from error
