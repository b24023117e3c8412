"""
The spans of one direction: the open one, and the reservation one ahead.

An intent is begun with the first frame of the span before it, so that it is durable when its own
first frame comes.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from anyio.lowlevel import checkpoint_if_cancelled

from realtime_async._core.cursors import CursorLabel, StreamCursor
from realtime_async._core.sidecar import MediaSpan
from realtime_async._core.spans import NO_FRAMES, OpenSpan, first_limit, reserved
from realtime_async._shell.lane import Appended
from realtime_async._shell.runtime import SessionRuntime
from realtime_async.ports import RealtimeSessionRecordKind

__all__ = ["SpanBook"]


class SpanBook:
    """
    Keeps the intents of one direction in order.

    Without a *limit* an intent stands for one frame, and none is reserved ahead.
    """

    def __init__(
        self,
        rt: SessionRuntime,
        limit: MediaSpan | None,
        label: CursorLabel,
        *,
        requested: RealtimeSessionRecordKind,
        done: RealtimeSessionRecordKind,
        position: Callable[[], StreamCursor],
        fields: dict[str, Any],
    ) -> None:
        self._rt = rt
        self._limit = limit
        self._label = label
        self._requested = requested
        self._done = done
        self._position = position
        self._fields = fields
        self._span: OpenSpan | None = (
            None if limit is None else OpenSpan(first_limit(limit, rt.lane.place), label)
        )
        self._reserve: Appended | None = None
        self.intent: Appended | None = None
        """Of the open span; None: it has none yet."""
        self._durable = False
        self.said: dict[str, Any] = {}
        """What its result says of the frames that it has, beside what all records here do."""

    @property
    def frames(self) -> int:
        """How many frames the open span has."""
        return 0 if self._span is None else self._span.frames

    def is_ready(self, now: float) -> bool:
        """Whether a frame may go under the open span at once; ends a span that is over."""
        span = self._span
        if span is not None and now >= span.over_at:
            self.end()
        if self._durable:
            return True
        if self.intent is None:
            if self._reserve is None:
                return False
            self.intent, self._reserve = self._reserve, None
        self._durable = self.intent.is_durable
        return self._durable

    async def get_ready(self) -> None:
        """Have an intent, and wait until it is durable."""
        intent = self._open()
        await self._rt.durable(intent)
        # A journal may shield its writing: who gave up meanwhile goes no further.
        await checkpoint_if_cancelled()
        if intent is self.intent:
            self._durable = True

    def _open(self) -> Appended:
        if self.intent is None:
            if self._reserve is None:
                self.intent = self._begin(self._position())
            else:
                self.intent, self._reserve = self._reserve, None
        return self.intent

    def _begin(self, after: StreamCursor) -> Appended:
        fields = dict(self._fields)
        if self._limit is not None:
            fields["extent"] = reserved(after, self._limit)
        return self._rt.append(self._requested, **fields)

    def add(
        self, number: int, payload: bytes | str | None, now: float, said: dict[str, Any] | None = None
    ) -> Appended:
        """
        Count a frame into the open span; the first one reserves the next span.

        Args:
            said: What the span's result is to say of its frames.

        Returns:
            The intent that it went under.
        """
        span, limit = self._span, self._limit
        assert span is not None
        assert limit is not None
        intent = self.intent or self._open()
        span.add(number, payload, now)
        if said is not None:
            self.said = said
        if span.frames == 1 and self._reserve is None:
            ahead = StreamCursor.chunk(number + limit.frames - 1, self._label)
            self._reserve = self._begin(ahead)
        if span.frames >= limit.frames:
            self.end()
        return intent

    def take(self) -> Appended:
        """Give the open intent to one frame alone; what the span has so far is ended first."""
        self.end()
        intent = self._open()
        self._clear()
        return intent

    def end(self) -> Appended | None:
        """Close the open span, if it has frames."""
        if not self.frames:
            return None
        return self._result(self._done, {})

    def fail(self, kind: RealtimeSessionRecordKind, fields: dict[str, Any]) -> Appended:
        """Close the open intent with a failure, which states what had gone."""
        return self._result(kind, fields)

    def close(self, unused: RealtimeSessionRecordKind) -> None:
        """
        Close whatever is open.

        Args:
            unused: The kind of result for an open intent under which nothing went.
        """
        self.end()
        if self.intent is not None:
            self._result(unused, {})
        if self._reserve is not None:
            reserve, self._reserve = self._reserve, None
            self._rt.append(self._done, reserve, extent=NO_FRAMES, **self._fields)

    def _result(self, kind: RealtimeSessionRecordKind, fields: dict[str, Any]) -> Appended:
        intent = self._open()
        if self._span is not None:
            fields = {"extent": self._span.extent(), **fields}
        fields = {**self._fields, **self.said, **fields}
        self._clear()
        return self._rt.append(kind, intent, **fields)

    def _clear(self) -> None:
        self.intent = None
        self._durable = False
        self.said = {}
        if self._limit is not None:
            self._span = OpenSpan(self._limit, self._label)
