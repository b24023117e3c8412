"""
The order of outbound frames: each in its turn, to the provider or into the gate.

The line is held by the frame whose turn it is, until it is accepted; the wire by the frame, or the
drain, that may call the adapter's `send`.
So a gate that closes takes in at once whoever stands in line, though a frame be in flight.
A frame that meets a drain joins the gate behind what is drained: a microphone never waits for a backlog.
"""

from __future__ import annotations

from collections import deque
from collections.abc import MutableSequence

import anyio
import anyio.lowlevel

from realtime_async._core.lifecycle import Operation, Phase, Verdict, next_step, refusal
from realtime_async._core.media import payload_bytes, whole_samples
from realtime_async._core.stint import CALLS_AT_MOST, Stint
from realtime_async._shell.fates import Fates
from realtime_async._shell.gate import Gated
from realtime_async._shell.gating import Gating
from realtime_async._shell.lane import Appended
from realtime_async._shell.replaying import Replay
from realtime_async._shell.runtime import SessionRuntime
from realtime_async._shell.transmitting import Transmitting, Turn
from realtime_async.errors import (
    AgentError,
    ContractViolation,
    DeadlineExceeded,
    JournalFailure,
    ProviderConnectionLost,
    RetryClassification,
)
from realtime_async.ports import RealtimeInputFrame, RealtimeMediaKind, RealtimeSessionRecord

__all__ = ["Sending"]


class Wire:
    """Who may call the adapter's `send`: one at a time."""

    def __init__(self, rt: SessionRuntime) -> None:
        self._rt = rt
        self.is_taken = False

    def take(self) -> None:
        assert not self.is_taken
        self.is_taken = True

    def release(self) -> None:
        self.is_taken = False
        self._rt.changed.notify()


class Sending:
    """Sends frames in the order of their acceptance."""

    def __init__(self, rt: SessionRuntime) -> None:
        self._rt = rt
        self.gate = Gating(rt)
        self.wire = Wire(rt)
        self.transmitting = Transmitting(rt, self.gate)
        self.replay = Replay(rt)
        self.fates = Fates(rt)
        self.drained: list[int] = []
        """Cursors of the frames that the last drain sent."""
        self._may_join = 0
        """How many frames the drain under way still takes in; 0 also where there is none."""
        self._line = anyio.Lock(fast_acquire=True)
        self._behind: set[Turn] = set()
        """Who stands in line, but for the first."""
        self._format = rt.input_format
        self._sample = self._format.bytes_per_sample
        self._max_bytes = rt.sidecar.max_frame_bytes
        self._under_way = 0
        self._stint = Stint()

    @property
    def queued(self) -> int:
        """Frames accepted whose end is not known: in the gate, or in flight."""
        in_flight = sum(flight.name == "send" and not flight.settled for flight in self._rt.flights)
        return len(self.gate) + in_flight

    def at_once(self, frame: RealtimeInputFrame) -> RealtimeSessionRecord | Turn:
        """
        Send *frame*, or put it into the gate, if nothing has to be awaited for that.

        Written out, as it is what a call does 50 times a second.

        Returns:
            Its record; or a turn, which `in_turn` goes on with.
        """
        rt = self._rt
        is_open = rt.life.phase is Phase.OPEN
        if not is_open:
            # A journal that fails ends the phase, so an open session has none to ask about.
            rt.check()
        self._check(frame)
        if not is_open:
            rt.life.demand(Operation.SEND)
        now = rt.now()
        if self._stint.is_over(now):
            return Turn(frame=frame, since=now, yields=True)
        if self._under_way:
            return Turn(frame=frame, since=now)
        if not is_open:
            return Turn(frame=frame, since=now) if self.gate.is_full else self.gate.put(frame).record.payload
        if self.wire.is_taken:
            return self._joined(frame) if self._can_join else Turn(frame=frame, since=now)
        if self.gate.channel.is_empty and not self.replay.due:
            return self.transmitting.at_once(frame, now)
        return Turn(frame=frame, since=now)

    async def in_turn(self, turn: Turn) -> RealtimeSessionRecord:
        """Go on with a frame for which something has to be awaited."""
        if turn.yields and not self._under_way:
            await self._yield()
            if self._under_way:
                turn.yields, turn.has_the_line = False, True
                return await self._wait_for(turn)
            self._line.release()
            now_or_later = self.at_once(turn.frame)
            if isinstance(now_or_later, RealtimeSessionRecord):
                return now_or_later
            turn = now_or_later
        return await self._wait_for(turn)

    async def _yield(self) -> None:
        """Let the others run, at the head of the line: who comes meanwhile stands behind."""
        # With nobody under way it is free.
        self._line.acquire_nowait()
        self._under_way += 1
        try:
            await anyio.lowlevel.checkpoint()
        except BaseException:
            self._line.release()
            self._rt.totals.refused += 1
            raise
        finally:
            self._under_way -= 1

    async def _wait_for(self, turn: Turn) -> RealtimeSessionRecord:
        rt = self._rt
        in_its_turn = self._in_line if turn.stamped is None else self._numbered
        self._under_way += 1
        try:
            with rt.scope(deadline=turn.since + rt.deadlines.send) as turn.scope:
                return await in_its_turn(turn)
        except ProviderConnectionLost:
            if turn.gated is None:
                raise
        except BaseException:
            rt.totals.refused += not turn.accepted
            raise
        finally:
            self._under_way -= 1
            self._stint.waited()
        return self._swallowed(turn)

    def _check(self, frame: RealtimeInputFrame) -> None:
        if not isinstance(frame, RealtimeInputFrame):
            raise ContractViolation(
                f"send takes a RealtimeInputFrame, not {type(frame).__name__}: build one with its constructors"
            )
        payload = frame.payload
        size = len(payload) if type(payload) is bytes else payload_bytes(payload)
        if size > self._max_bytes:
            raise ContractViolation(
                f"frame {str(frame.frame_id)!r} has {size} bytes, the sidecar's max_frame_bytes are "
                f"{self._max_bytes}: send it in parts, or allow more"
            )
        if type(payload) is bytes and frame.media_kind is RealtimeMediaKind.AUDIO:
            if frame.audio_format is not None:
                whole_samples(payload, frame.audio_format)
            elif size % self._sample:
                whole_samples(payload, self._format)

    def _swallowed(self, turn: Turn) -> RealtimeSessionRecord:
        """How a send ended whose own scope was cancelled, or whose frame went back to the gate."""
        if turn.gated is not None:
            return turn.gated.record.payload
        if turn.error is not None:
            raise turn.error
        self._rt.totals.refused += not turn.accepted
        self._rt.check()
        what, then = ("its turn", "send less at once, or allow more in Deadlines.send")
        if self._rt.life.verdict(Operation.SEND) is Verdict.GATE:
            what, then = (
                "room in the gate",
                f"{next_step(self._rt.life.phase)}, or allow more in Deadlines.gate",
            )
        if turn.waits_for_the_journal:
            what, then = ("the intent of its span", "look at the journal's storage")
        raise DeadlineExceeded(
            f"frame {str(turn.frame.frame_id)!r} waited {self._rt.now() - turn.since:.3g} s for {what} and was "
            f"not accepted; session {str(self._rt.life.session_id)!r} is {self._rt.life.phase}: {then}"
        )

    def _something_is_due(self) -> bool:
        return not self.gate.channel.is_empty or bool(self.replay.due)

    # -- in turn

    async def _in_line(self, turn: Turn) -> RealtimeSessionRecord:
        if not turn.has_the_line:
            await self._line_up(turn)
        turn.on_accepted = self._line.release
        try:
            if turn.yields:
                await anyio.lowlevel.checkpoint()
            while True:
                record = await self._next_step(turn)
                if record is not None:
                    return record
        finally:
            if not turn.accepted:
                self._line.release()

    async def _line_up(self, turn: Turn) -> None:
        self._allow_for_the_gate(turn)
        self._behind.add(turn)
        try:
            await self._line.acquire()
        finally:
            self._behind.discard(turn)

    async def _next_step(self, turn: Turn) -> RealtimeSessionRecord | None:
        """Do what the phase says, as the first in line; None: it has changed, or the wire was taken."""
        self._rt.check()
        match self._rt.life.verdict(Operation.SEND):
            case Verdict.GO if self._can_join:
                record = self._joined(turn.frame)
                turn.accept()
                return record
            case Verdict.GO if self.wire.is_taken:
                await self._rt.changed.wait()
                return None
            case Verdict.GO:
                return await self._on_the_wire(turn)
            case Verdict.GATE:
                return await self._into_the_gate(turn)
            case _:
                raise refusal(Operation.SEND, self._rt.life.phase, self._rt.life.session_id)

    async def _numbered(self, turn: Turn) -> RealtimeSessionRecord:
        """Go on with a frame that got its number at once; the wire is free, as nothing was awaited since."""
        if not turn.accepted:
            # The call of one who is cancelled already would be in doubt; it need not begin.
            await anyio.lowlevel.checkpoint_if_cancelled()
        self.wire.take()
        try:
            return (await self.transmitting.numbered(turn)).record.payload
        finally:
            self.wire.release()

    async def _on_the_wire(self, turn: Turn) -> RealtimeSessionRecord | None:
        self.wire.take()
        try:
            if self._something_is_due():
                await self.drain(deque(maxlen=1))
            if self._rt.life.phase is not Phase.OPEN:
                return None
            sent = await self.transmitting.transmit(turn)
        finally:
            self.wire.release()
        return None if sent is None else sent.record.payload

    async def _into_the_gate(self, turn: Turn) -> RealtimeSessionRecord | None:
        self._allow_for_the_gate(turn, *self._behind)
        action = await self.gate.room()
        if action is None:
            return None
        record = self.gate.put(turn.frame, action).record.payload
        turn.accept()
        return record

    def _allow_for_the_gate(self, *turns: Turn) -> None:
        """Who must wait for room, or for those who do, may wait as long as a restart takes."""
        if self.gate.is_full and self._rt.life.verdict(Operation.SEND) is Verdict.GATE:
            for turn in turns:
                assert turn.scope is not None
                turn.scope.deadline = turn.since + self._rt.deadlines.gate

    # -- after a restart

    @property
    def _can_join(self) -> bool:
        return self._may_join > 0 and not self.gate.is_full

    def _joined(self, frame: RealtimeInputFrame) -> RealtimeSessionRecord:
        """Have the drain under way take *frame* along."""
        self._may_join -= 1
        return self.gate.put(frame).record.payload

    async def drain(self, records: MutableSequence[Appended]) -> None:
        """
        Send what waits: the rest of the tail, then the gate; the caller holds the wire.

        It ends early where the phase does not allow to go on, and takes in as many frames again as it begins
        with at most: each of them costs an intent of its own, and it must end though its senders never pause.
        """
        self._may_join = len(self.gate) + len(self.replay.due)
        try:
            await self.replay.run(records)
            handled = 0
            while len(self.gate) and self._rt.life.phase is Phase.OPEN:
                await self._drain_one(self.gate.take(), records)
                handled += 1
                if handled % CALLS_AT_MOST == 0:
                    await anyio.lowlevel.checkpoint()
        finally:
            self._may_join = 0

    async def _drain_one(self, gated: Gated, records: MutableSequence[Appended]) -> None:
        rt = self._rt
        dropped = self.gate.drop_if_stale(gated)
        if dropped is not None:
            records.append(dropped)
            self.fates.settle(gated.frame, _too_old(gated.frame))
            return
        turn = Turn(frame=gated.frame, since=gated.since)
        try:
            # The frame waits until its own intent is begun, and what ends before that says so.
            self.transmitting.book.end()
            rt.life.ungated()
            with rt.scope(deadline=rt.now() + rt.deadlines.send) as turn.scope:
                sent = await self.transmitting.alone(turn)
                self.drained.append(rt.life.send_cursor.chunk_sequence)
                records += [turn.intent, sent] if turn.intent is not None else [sent]
                self.fates.settle(gated.frame, None)
                return
            if isinstance(turn.error, JournalFailure):
                # It was given up.
                raise turn.error
        except JournalFailure:
            self._forget(turn)
            raise
        except AgentError:
            rt.check()
        except BaseException:
            if isinstance(turn.error, JournalFailure):
                self._forget(turn)
            elif turn.error is not None and turn.gated is None and not turn.started:
                self._take_back(gated)
            elif turn.gated is None:
                self.fates.settle(gated.frame, turn.error)
            raise
        if turn.gated is None:
            self.fates.settle(gated.frame, turn.error)
        records += [record for record in (turn.intent, turn.result, turn.gated) if record is not None]

    def _forget(self, turn: Turn) -> None:
        """Give up a frame of which nothing can be recorded any more: to whoever resumes, it is in the gate, unless it had ended."""
        if not turn.started and turn.result is None:
            self.gate.forget(is_out=turn.stamped is not None)

    def _take_back(self, gated: Gated) -> None:
        """The drain was cancelled before this frame's call: it goes on waiting."""
        if self._rt.life.verdict(Operation.SEND) is not None:
            self.gate.put_first(gated)
            self._rt.totals.failed -= 1


def _too_old(frame: RealtimeInputFrame) -> AgentError:
    return DeadlineExceeded(
        f"frame {str(frame.frame_id)!r} waited in the gate for longer than the sidecar's stale_after_s, and was "
        "dropped: allow more, or send what still matters again",
        retry=RetryClassification.NOT_RETRYABLE,
    )
