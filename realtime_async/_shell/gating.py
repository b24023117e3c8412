"""
The gate of one session: who gets in, who has to wait, and who is put out.

What happens when it is full is the sidecar's overflow policy.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from realtime_async._core.lifecycle import Operation, Verdict
from realtime_async._core.sidecar import RealtimeOverflowPolicy
from realtime_async._shell.gate import GateChannel, Gated
from realtime_async._shell.lane import Appended
from realtime_async._shell.runtime import SessionRuntime
from realtime_async.errors import BackpressureOverflow, JournalFailure
from realtime_async.ports import (
    RealtimeBackpressureAction,
    RealtimeInputFrame,
    RealtimeMediaKind,
    RealtimeSessionRecordKind,
    StreamChannel,
    StreamDirection,
)

__all__ = ["Gating", "input_fields"]

_Kind = RealtimeSessionRecordKind

# A kind that is missing goes on realtime_media.
_CHANNEL: Mapping[RealtimeMediaKind, StreamChannel] = {
    RealtimeMediaKind.TEXT: StreamChannel.ASSISTANT_TEXT,
    RealtimeMediaKind.TOOL_RESULT: StreamChannel.TOOL_RESULT_TEXT,
    RealtimeMediaKind.TRANSCRIPT: StreamChannel.REALTIME_TRANSCRIPT,
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


class Gating:
    """Keeps frames for the next connection."""

    def __init__(self, rt: SessionRuntime) -> None:
        self._rt = rt
        self.channel = GateChannel(rt.sidecar.queue_capacity)
        self._is_told_full = False

    def __len__(self) -> int:
        return len(self.channel)

    @property
    def is_full(self) -> bool:
        return self.channel.is_full

    def frames(self) -> list[RealtimeInputFrame]:
        """What waits, in order."""
        return self.channel.frames()

    def put(
        self, frame: RealtimeInputFrame, action: RealtimeBackpressureAction = RealtimeBackpressureAction.GATE
    ) -> Appended:
        """Accept *frame*; the caller has seen that there is room."""
        if self.channel.is_empty:
            self._is_told_full = False
        appended = self._tell(frame, action)
        self.channel.put(Gated(frame, self._rt.now()))
        return appended

    def put_first(self, gated: Gated) -> Appended:
        """Take back a frame that did not reach its connection."""
        appended = self._tell(gated.frame, RealtimeBackpressureAction.GATE)
        self.channel.put_first(gated)
        return appended

    def _tell(self, frame: RealtimeInputFrame, action: RealtimeBackpressureAction) -> Appended:
        """Record, before *frame* is in the gate, that it is: where the journal has failed, it is not."""
        self._rt.life.gated(action)
        try:
            return self._rt.append(_Kind.BACKPRESSURE_APPLIED, **input_fields(frame))
        except JournalFailure:
            self._rt.life.not_gated()
            raise

    async def room(self) -> RealtimeBackpressureAction | None:
        """
        Make room, or wait for it, as the overflow policy says.

        Returns:
            How it was found; None: the gate has opened meanwhile, or the session ended.

        Raises:
            BackpressureOverflow: The policy is to refuse.
        """
        action = RealtimeBackpressureAction.GATE
        while self.is_full:
            self._warn_that_it_is_full()
            policy = self._rt.sidecar.overflow_policy
            if policy is RealtimeOverflowPolicy.FAIL_SEND:
                raise self._overflow()
            if policy is RealtimeOverflowPolicy.DROP_NONCRITICAL and self._evict():
                return RealtimeBackpressureAction.DROP_NONCRITICAL
            await self._rt.changed.wait()
            self._rt.check()
            if self._rt.life.verdict(Operation.SEND) is not Verdict.GATE:
                return None
            action = RealtimeBackpressureAction.BLOCK
        return action

    def _warn_that_it_is_full(self) -> None:
        """Say it once until it has been empty again: speech may come faster than what waited can be sent."""
        if self._is_told_full:
            return
        self._is_told_full = True
        sidecar = self._rt.sidecar
        self._rt.tell("gate_full", queued=len(self), overflow_policy=str(sidecar.overflow_policy))

    def _overflow(self) -> BackpressureOverflow:
        return BackpressureOverflow(
            f"the gate of session {str(self._rt.life.session_id)!r} is full with {len(self)} frame(s), and the "
            "overflow_policy is fail_send: send it again after the restart, or give the sidecar a larger queue_capacity"
        )

    def _evict(self) -> bool:
        evicted = self.channel.evict(lambda frame: not frame.critical)
        if evicted is None:
            return False
        self._drop(evicted)
        return True

    def take(self) -> Gated:
        """Give out the first frame, to be sent; who waits for room may look again."""
        gated = self.channel.take()
        self._rt.changed.notify()
        return gated

    def drop_if_stale(self, gated: Gated) -> Appended | None:
        """Drop a frame that was taken out and has waited too long."""
        stale_after_s = self._rt.sidecar.stale_after_s
        if stale_after_s is None or self._rt.now() - gated.since <= stale_after_s:
            return None
        return self._drop(gated)

    def drop_all(self) -> None:
        """Give up every frame, each in a record of its own."""
        # One by one: where the journal fails at one of them, the rest is there to be forgotten.
        while not self.channel.is_empty:
            self._drop(self.channel.take())

    def forget_all(self) -> None:
        """Give up every frame without a record, as the journal takes none any more: whoever resumes writes it."""
        for _ in self.channel.take_all():
            self._count_dropped()

    def forget(self, *, is_out: bool) -> None:
        """Give up one that was taken out, as `forget_all` does; *is_out*, it is counted as gone to the provider."""
        self._count_dropped(is_out=is_out)

    def _drop(self, gated: Gated) -> Appended:
        self._count_dropped()
        return self._rt.append(_Kind.INPUT_DROPPED, **input_fields(gated.frame))

    def _count_dropped(self, *, is_out: bool = False) -> None:
        self._rt.life.dropped(is_out=is_out)
        self._rt.totals.dropped += 1
