"""
A journal and an adapter that note what passes through them, for the oracle.

Each call of the adapter is noted with the journal's position at its start and at its end:
how many records were taken, and how many of those were durable.
"""

from __future__ import annotations

import itertools
from collections import deque
from collections.abc import AsyncIterator, Awaitable, Generator, Iterator
from contextlib import contextmanager
from typing import Any

import attrs

from realtime_async.errors import JournalFailure, ProviderConnectionLost, ProviderFailure
from realtime_async.ports import (
    AudioFormat,
    JournalCursor,
    JournalRecord,
    RealtimeCloseReason,
    RealtimeConnectionId,
    RealtimeConnectRequest,
    RealtimeConnectResponse,
    RealtimeInputFrame,
    RealtimeOutputFrame,
    RealtimeProviderAdapter,
    RealtimeResponseId,
    RealtimeSessionId,
    RunId,
    RunJournal,
)

__all__ = ["NowaitRecordedAdapter", "RecordedAdapter", "RecordedJournal", "recorded_adapter"]


@attrs.define(eq=False)
class Ack:
    """What `append` returned, and whether that record is known to be durable."""

    seq: int
    inner: Awaitable[JournalCursor]
    awaited: bool = False

    @property
    def is_durable(self) -> bool:
        return self.awaited or bool(getattr(self.inner, "is_durable", False))

    def __await__(self) -> Generator[Any, Any, JournalCursor]:
        cursor = yield from self.inner.__await__()
        self.awaited = True
        return cursor


class RecordedJournal:
    """Passes every call on to *inner*; knows how far each run has come."""

    def __init__(self, inner: RunJournal) -> None:
        self.inner = inner
        self.kinds: list[str] = []
        """Of the records that were taken, of all runs, in order."""
        self.is_dead = False
        """Set it, and whoever writes here writes no more."""
        self._begun: dict[str, int] = {}
        self._durable: dict[str, int] = {}
        self._pending: dict[str, deque[Ack]] = {}

    def append(self, record: JournalRecord) -> Ack:
        if self.is_dead:
            raise JournalFailure("the process is dead, says the test")
        ack = Ack(record.journal_seq, self.inner.append(record))
        self._begun[record.run_id] = record.journal_seq
        self._pending.setdefault(record.run_id, deque()).append(ack)
        self.kinds.append(str(record.payload.kind))
        return ack

    def position(self, run_id: str) -> tuple[int, int]:
        """The last record of *run_id* that was taken, and the last that is durable."""
        pending = self._pending.get(run_id, deque())
        # Durable order is sequence order: one that is durable has all before it durable.
        last = max((ack.seq for ack in pending if ack.is_durable), default=0)
        while pending and pending[0].seq <= last:
            pending.popleft()
        self._durable[run_id] = max(last, self._durable.get(run_id, 0))
        return self._begun.get(run_id, 0), self._durable[run_id]

    def read(self, run_id: RunId, *, after: int = 0) -> AsyncIterator[JournalRecord]:
        return self.inner.read(run_id, after=after)

    async def last(self, run_id: RunId) -> JournalCursor | None:
        return await self.inner.last(run_id)

    async def aclose(self) -> None:
        await self.inner.aclose()


class RecordedAdapter:
    """Passes every call on to *inner*, and notes it in `log`."""

    def __init__(
        self,
        inner: RealtimeProviderAdapter,
        journal: RecordedJournal,
        run_id: str,
        before: RecordedAdapter | None = None,
    ) -> None:
        self.inner = inner
        self.log: list[dict[str, Any]] = [] if before is None else before.log
        """What the oracle reads; of several owners of a run, one after the other, all calls."""
        self._journal = journal
        self._run_id = run_id
        self._numbers: Iterator[int] = itertools.count(1) if before is None else before._numbers

    @property
    def adapter_ref(self) -> str:
        return self.inner.adapter_ref

    @property
    def input_format(self) -> AudioFormat | None:
        return self.inner.input_format

    @property
    def output_format(self) -> AudioFormat | None:
        return self.inner.output_format

    @property
    def operations(self) -> list[str]:
        """The calls that were started, in order."""
        return [entry["operation"] for entry in self.log if entry["edge"] == "started"]

    async def connect(self, request: RealtimeConnectRequest) -> RealtimeConnectResponse:
        with self._noting("connect", request.session_id) as end:
            response = await self.inner.connect(request)
            end["connection_id"] = response.connection_id
            return response

    async def send(self, session_id: RealtimeSessionId, frame: RealtimeInputFrame) -> None:
        with self._noting("send", session_id, frame):
            await self.inner.send(session_id, frame)

    async def receive(self, session_id: RealtimeSessionId) -> RealtimeOutputFrame | None:
        with self._noting("receive", session_id) as end:
            frame = await self.inner.receive(session_id)
            end["outcome"] = "none" if frame is None else "returned"
            return frame

    async def interrupt(
        self,
        session_id: RealtimeSessionId,
        response_id: RealtimeResponseId | None,
        *,
        played_ms: int | None = None,
    ) -> None:
        with self._noting("interrupt", session_id):
            await self.inner.interrupt(session_id, response_id, played_ms=played_ms)

    async def restart(
        self, session_id: RealtimeSessionId, connection_id: RealtimeConnectionId
    ) -> RealtimeConnectResponse:
        with self._noting("restart", session_id) as end:
            response = await self.inner.restart(session_id, connection_id)
            end["connection_id"] = response.connection_id
            return response

    async def close(self, session_id: RealtimeSessionId, reason: RealtimeCloseReason) -> None:
        with self._noting("close", session_id):
            await self.inner.close(session_id, reason)

    @contextmanager
    def _noting(
        self, operation: str, session_id: str, frame: RealtimeInputFrame | None = None
    ) -> Iterator[dict[str, Any]]:
        number = next(self._numbers)
        cursor = None if frame is None or frame.cursor is None else frame.cursor.chunk_sequence
        self._note(
            "started",
            call=number,
            operation=operation,
            session_id=str(session_id),
            frame_id=None if frame is None else str(frame.frame_id),
            cursor=cursor,
        )
        end: dict[str, Any] = {"call": number, "outcome": "returned"}
        try:
            yield end
        except ProviderConnectionLost as lost:
            end["outcome"] = "lost_undelivered" if lost.delivered is False else "lost"
            raise
        except ProviderFailure:
            end["outcome"] = "refused"
            raise
        except Exception:
            end["outcome"] = "failed"
            raise
        except BaseException:
            end["outcome"] = "cancelled"
            raise
        finally:
            self._note("ended", **end)

    def _note(self, edge: str, **facts: Any) -> None:
        begun, durable = self._journal.position(self._run_id)
        self.log.append({"edge": edge, "begun": begun, "durable": durable, **facts})


class NowaitRecordedAdapter(RecordedAdapter):
    """The same for an adapter that offers `send_nowait` and `receive_nowait`."""

    def send_nowait(self, session_id: RealtimeSessionId, frame: RealtimeInputFrame) -> bool:
        with self._noting("send", session_id, frame) as end:
            taken: bool = self.inner.send_nowait(session_id, frame)  # type: ignore[attr-defined]  # see recorded_adapter
            if not taken:
                end["outcome"] = "no_room"
            return taken

    def receive_nowait(self, session_id: RealtimeSessionId) -> RealtimeOutputFrame | None:
        with self._noting("receive", session_id) as end:
            frame: RealtimeOutputFrame | None = self.inner.receive_nowait(session_id)  # type: ignore[attr-defined]  # so
            end["outcome"] = "nothing" if frame is None else "returned"
            return frame


def recorded_adapter(
    inner: RealtimeProviderAdapter,
    journal: RecordedJournal,
    run_id: str,
    before: RecordedAdapter | None = None,
) -> RecordedAdapter:
    """
    Record *inner* as what it is: with what doesn't wait only where it has that.

    Args:
        before: Of an earlier owner of the run, whose log is gone on with.
    """
    kind = NowaitRecordedAdapter if hasattr(inner, "send_nowait") else RecordedAdapter
    return kind(inner, journal, run_id, before)
