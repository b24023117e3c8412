"""Which sessions an adapter serves, and which it has served."""

from __future__ import annotations

from collections import deque
from collections.abc import Iterator
from typing import Generic, TypeVar

from realtime_async.errors import SessionStateError

__all__ = ["Sessions"]

_S = TypeVar("_S")

# Sessions that were closed, of which a late `receive` still learns so.
_CLOSED = 1000


class Sessions(Generic[_S]):
    """
    The sessions of one adapter, by their ids.

    Args:
        adapter: What errors call it.
    """

    def __init__(self, adapter: str) -> None:
        self._adapter = adapter
        self._open: dict[str, _S] = {}
        self._closed: deque[str] = deque(maxlen=_CLOSED)

    def __len__(self) -> int:
        return len(self._open)

    def __iter__(self) -> Iterator[_S]:
        return iter(self._open.values())

    def add(self, session_id: str, session: _S) -> None:
        self._open[session_id] = session

    def of(self, session_id: str) -> _S:
        """
        Raises:
            SessionStateError: There is no such session.
        """
        session = self._open.get(session_id)
        if session is None:
            raise SessionStateError(f"the {self._adapter} has no session {session_id!r}: connect it first")
        return session

    def is_over(self, session_id: str) -> bool:
        """Whether that session was served, and is not any more."""
        return session_id not in self._open and session_id in self._closed

    def end(self, session_id: str) -> _S | None:
        """Take that session out; None: there is none."""
        session = self._open.pop(session_id, None)
        if session is not None:
            self._closed.append(session_id)
        return session

    def end_all(self) -> Iterator[_S]:
        """Take all of them out."""
        for session_id in list(self._open):
            session = self.end(session_id)
            if session is not None:
                yield session
