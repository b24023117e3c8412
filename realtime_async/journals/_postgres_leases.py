"""
The leases that this process holds: one for each run that it writes.

A lease is the run's row in the database: a token, which whoever takes the run over raises, and a moment
at which it expires by the clock of the server.  Here is the copy that the holder knows: which token it
holds, where it has the run stand, and when it must renew.
"""

from __future__ import annotations

import threading
from typing import Final

import attrs

__all__ = ["Held", "Leases"]

OWNED_AT_MOST: Final = 10_000
"""Runs that have not ended: what is forgotten could be taken back from whoever has claimed it."""

LEFT_ALONE_S: Final = 4 * 3600.0
"""A run that nobody has written for so long is let go: no connection of a provider lasts longer."""


@attrs.define
class Held:
    """A lease, as its holder knows it.  The writer thread alone changes it, but for the last two."""

    run: int
    """The number of the run in the database."""
    token: int
    last_seq: int
    parts: dict[str, int] | None = None
    """Numbers of shared texts that the run has; None: the database has to be asked."""
    highest_part: int = 0
    open_sessions: frozenset[str] = frozenset()
    renewed_at: float = 0.0
    """By the monotonic clock."""
    appended_at: float = 0.0
    """0: it was claimed, and nothing is written yet."""
    claimed_at: float = 0.0
    is_superseded: bool = False
    """Somebody else has raised the token.  It is kept, as the next append must be refused for it."""
    is_read_past: bool = False
    """What they have written was read here.  Whoever goes on from there takes the run over; nobody else does."""


class Leases:
    """All that are held, by run id; any thread may ask."""

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self._held: dict[str, Held] = {}

    def get(self, run_id: str) -> Held | None:
        with self._lock:
            return self._held.get(run_id)

    def hold(self, run_id: str, held: Held) -> None:
        with self._lock:
            self._held[run_id] = held

    def drop(self, run_id: str) -> Held | None:
        with self._lock:
            return self._held.pop(run_id, None)

    def due(self, now: float, age_s: float) -> list[Held]:
        """Those that were written here, and were not renewed for *age_s*.  A claim that nobody follows up may expire."""
        with self._lock:
            return [
                held
                for held in self._held.values()
                if held.appended_at
                and not held.is_superseded
                and now - held.renewed_at >= age_s
                and now - held.appended_at < LEFT_ALONE_S
            ]

    def forget_claims(self, now: float, age_s: float) -> None:
        """
        Let go of what was claimed *age_s* ago and never written, so that it takes no place of a run that lives.

        It has expired, so it is for whoever claims it; who resumes it here after all takes it over, as by its id.
        """
        with self._lock:
            left = [
                run_id
                for run_id, held in self._held.items()
                if not held.appended_at and now - held.claimed_at >= age_s
            ]
            for run_id in left:
                del self._held[run_id]

    def ours(self) -> list[Held]:
        """All that were not taken over, as far as is known."""
        with self._lock:
            return [held for held in self._held.values() if not held.is_superseded]

    def __len__(self) -> int:
        return len(self._held)
