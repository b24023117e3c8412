"""
The way of an inbound frame: from the adapter to whoever awaits `receive`.

One intent is outstanding at most, and outlives the cancellation of the `receive` that began it.
"""

from __future__ import annotations

from collections.abc import Mapping
from enum import Enum, auto
from typing import Any

import anyio
import anyio.lowlevel
import attrs

from realtime_async._core.cursors import CursorLabel
from realtime_async._core.lifecycle import Operation, Phase, Verdict
from realtime_async._core.oddity import oddity
from realtime_async._core.sidecar import MediaSpan
from realtime_async._core.spans import SPANNED_KINDS, OpenSpan
from realtime_async._core.stint import Stint
from realtime_async._core.usage import countable
from realtime_async._raised import cancellation_in, is_failure
from realtime_async._shell.flights import Flight
from realtime_async._shell.runtime import SessionRuntime, recorded
from realtime_async._shell.spanning import SpanBook
from realtime_async.errors import AgentError, ProviderFailure, SessionStateError
from realtime_async.ports import (
    InputCommitted,
    InputTranscript,
    OutputAudio,
    OutputTranscript,
    RealtimeMediaKind,
    RealtimeOutputFrame,
    RealtimeSessionRecord,
    RealtimeSessionRecordKind,
    ResponseDone,
    ResponseStarted,
    SpeechStarted,
    SpeechStopped,
    StreamChannel,
    StreamDirection,
)

__all__ = ["RealtimeReceived", "Receiving"]

_Kind = RealtimeSessionRecordKind

# A kind that is missing comes on realtime_media.
_CHANNEL: Mapping[RealtimeMediaKind, StreamChannel] = {
    RealtimeMediaKind.TEXT: StreamChannel.ASSISTANT_TEXT,
    RealtimeMediaKind.TRANSCRIPT: StreamChannel.REALTIME_TRANSCRIPT,
    RealtimeMediaKind.TOOL_CALL: StreamChannel.TOOL_CALL_ARGUMENTS,
}
_FIELDS: dict[str, Any] = {"direction": StreamDirection.OUTPUT_FROM_PROVIDER}
# What of a transcript comes between frames of media goes with them.
_SPAN_OF_MEDIA: dict[str, Any] = {
    "channel": StreamChannel.REALTIME_MEDIA,
    "media_kind": RealtimeMediaKind.AUDIO,
}
_SPAN_OF_TRANSCRIPTS: dict[str, Any] = {
    "channel": StreamChannel.REALTIME_TRANSCRIPT,
    "media_kind": RealtimeMediaKind.TRANSCRIPT,
}


# Without slots a frozen class takes half the time to build, and one is built per frame.
@attrs.frozen(slots=False)
class RealtimeReceived:
    """A frame, and the record that says it came: its own, or its span's intent."""

    frame: RealtimeOutputFrame
    record: RealtimeSessionRecord


def _output_fields(frame: RealtimeOutputFrame) -> dict[str, Any]:
    return {
        "frame_id": frame.frame_id,
        "response_id": frame.response_id,
        "media_kind": frame.media_kind,
        "content_refs": frame.content_refs,
        "privacy": frame.privacy,
        "retention": frame.retention,
        "redacted_summary": frame.redacted_summary,
        "channel": _CHANNEL.get(frame.media_kind, StreamChannel.REALTIME_MEDIA),
    }


class Receiving:
    """Takes frames from the adapter, one at a time."""

    def __init__(self, rt: SessionRuntime) -> None:
        self.rt = rt
        self.book = SpanBook(
            rt,
            rt.sidecar.span,
            CursorLabel.RECEIVE,
            requested=_Kind.OUTPUT_RECEIVE_REQUESTED,
            done=_Kind.OUTPUT_RECEIVED,
            position=lambda: rt.life.receive_cursor,
            fields=_FIELDS,
        )
        self._runs = False
        self._stint = Stint()
        self._discarded: OpenSpan | None = None

    async def receive(self) -> RealtimeReceived | None:
        if self._runs:
            self.rt.check()
            self.rt.life.demand(Operation.RECEIVE)
            raise SessionStateError(
                f"session {str(self.rt.life.session_id)!r} has a receive waiting already: "
                "await that one, or share its frames"
            )
        self._runs = True
        try:
            return await self._receive()
        finally:
            self._runs = False

    async def _receive(self) -> RealtimeReceived | None:
        rt = self.rt
        while True:
            now = rt.now()
            if self._stint.is_over(now):
                await anyio.lowlevel.checkpoint()
            if rt.life.phase is not Phase.OPEN:
                # A journal that fails ends the phase, so an open session has none to ask about.
                rt.check()
            match rt.life.demand(Operation.RECEIVE):
                case Verdict.NONE:
                    return None
                case Verdict.WAIT:
                    await rt.changed.wait()
                case _ if not self.book.is_ready(now):
                    await self.book.get_ready()
                case _:
                    # From what the adapter gives to what is returned nothing awaits, so no cancellation loses it.
                    taken: RealtimeOutputFrame | _Nothing | None = self._given()
                    if taken is None:
                        taken = await self._take()
                        self._stint.waited()
                        now = rt.now()
                    if taken is _Nothing.ENDED:
                        return None
                    if isinstance(taken, RealtimeOutputFrame):
                        if rt.fence.passes(taken):
                            return self._returned(taken, now)
                        self._discard(taken, now)

    def _given(self) -> RealtimeOutputFrame | None:
        """Take what the adapter has at once; None: it has nothing, or offers no such thing."""
        rt = self.rt
        if rt.gives is None:
            return None
        try:
            return _checked(rt.gives(rt.life.session_id), rt.adapter.adapter_ref)
        except Exception as raised:  # noqa: BLE001 - recorded, and raised again
            self._failed(Flight("receive", _is_not_recorded, started=True), raised)
            return None

    async def _take(self) -> RealtimeOutputFrame | _Nothing:
        rt = self.rt
        flight = Flight("receive", _is_not_recorded, started=True)
        rt.flights.add(flight)
        try:
            with rt.scope() as flight.scope:
                frame = _checked(await rt.adapter.receive(rt.life.session_id), rt.adapter.adapter_ref)
        except BaseException as raised:
            if not is_failure(raised):
                cancellation = cancellation_in(raised)
                if cancellation is None:
                    raise
                raise cancellation from None
            self._failed(flight, raised)
            return _Nothing.CUT
        finally:
            rt.landed(flight)
        if flight.scope.cancelled_caught or flight.settled:
            return _Nothing.CUT
        return self._ended() if frame is None else frame

    def _failed(self, flight: Flight, raised: BaseException) -> None:
        """Record and raise that the call failed, unless the connection was being replaced, or the session closed."""
        rt = self.rt
        if flight.settled or rt.life.phase in _REPLACES_THE_CONNECTION:
            return
        error = rt.failure_of(flight, raised)
        self.book.fail(_Kind.OUTPUT_RECEIVE_FAILED, {"error": recorded(error)})
        rt.lost_if(error)
        if error is raised:
            raise raised
        raise error from raised

    def _ended(self) -> _Nothing:
        if self.rt.life.phase is not Phase.OPEN:
            return _Nothing.CUT
        self.book.fail(_Kind.OUTPUT_ENDED, {})
        self.rt.connection_lost()
        return _Nothing.ENDED

    def _returned(self, frame: RealtimeOutputFrame, now: float) -> RealtimeReceived:
        rt = self.rt
        if self._discarded is not None:
            self.tell_discarded()
        spanned = self._is_spanned(frame)
        if not spanned:
            self.book.end()
        rt.life.receive_cursor = cursor = rt.life.next_receive()
        if frame.cursor is None:
            frame = frame.stamped(cursor)
        self._learn_from(frame, now)
        if spanned:
            is_media = frame.media_kind in SPANNED_KINDS
            said = _SPAN_OF_MEDIA if is_media else self.book.said or _SPAN_OF_TRANSCRIPTS
            intent = self.book.add(cursor.chunk_sequence, frame.payload, now, said)
            return RealtimeReceived(frame, intent.record.payload)
        fields = {**_FIELDS, **_output_fields(frame)}
        if isinstance(frame.event, ResponseDone):
            fields["usage"] = countable(frame.event.usage)
        appended = rt.append(_Kind.OUTPUT_RECEIVED, self.book.take(), **fields)
        return RealtimeReceived(frame, appended.record.payload)

    def _is_spanned(self, frame: RealtimeOutputFrame) -> bool:
        if self.rt.sidecar.span is None:
            return False
        if frame.media_kind in SPANNED_KINDS:
            return True
        return isinstance(frame.event, InputTranscript | OutputTranscript) and not frame.event.final

    def _discard(self, frame: RealtimeOutputFrame, now: float) -> None:
        """Count a frame of an interrupted answer, which nobody is to hear."""
        rt = self.rt
        self.book.end()
        if self._discarded is None:
            self._discarded = OpenSpan(_UNLIMITED, CursorLabel.RECEIVE)
        # The session's own cursor moves with the record that tells of it.
        number = rt.life.receive_cursor.chunk_sequence + self._discarded.frames + 1
        self._discarded.add(number, frame.payload, now)

    def tell_discarded(self) -> None:
        """Record what was discarded since this was last told."""
        if self._discarded is not None:
            extent = self._discarded.extent()
            self._discarded = None
            assert extent.last is not None
            self.rt.life.receive_cursor = extent.last
            self.rt.append(_Kind.OUTPUT_DISCARDED, **_FIELDS, extent=extent)

    def _learn_from(self, frame: RealtimeOutputFrame, now: float) -> None:
        """What the provider lets slip about the input that it knows."""
        tail = self.rt.tail
        match frame.event:
            case OutputAudio():
                # Nearly every frame is one, and it tells nothing.
                pass
            case SpeechStarted(position) | SpeechStopped(position):
                self._confirm(position)
            case InputCommitted(position):
                self._confirm(position)
                tail.committed(position, now)
            case ResponseStarted():
                tail.answer_started()
            case ResponseDone(status):
                tail.answer_ended(completed=status == "completed")
            case _:
                pass

    def _confirm(self, position_ms: int | None) -> None:
        if position_ms is not None:
            number = self.rt.tail.number_at(position_ms)
            if number is not None:
                self.rt.totals.confirm(number)


# Where a call that fails says no more than what is known already.
_REPLACES_THE_CONNECTION = frozenset({Phase.RESTARTING, Phase.CLOSING})
_UNLIMITED = MediaSpan(frames=2**62)


class _Nothing(Enum):
    """Why a call of the adapter brought no frame."""

    CUT = auto()
    ENDED = auto()


def _checked(frame: object, adapter_ref: str) -> RealtimeOutputFrame | None:
    if frame is None:
        return None
    if not isinstance(frame, RealtimeOutputFrame):
        raise ProviderFailure(
            f"adapter {adapter_ref!r} returned {type(frame).__name__} from receive: it must return a RealtimeOutputFrame"
        )
    odd = oddity(frame)
    if odd is not None:
        raise ProviderFailure(f"adapter {adapter_ref!r} returned from receive {odd}; mend it there")
    return frame


def _is_not_recorded(error: AgentError, flight: Flight) -> None:
    """A receive that is cut leaves its intent outstanding."""
