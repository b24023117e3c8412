"""What a worker gets to take up."""

from __future__ import annotations

from datetime import datetime

import attrs

from realtime_async.ports import RunId

__all__ = ["OrphanedRun"]


@attrs.frozen
class OrphanedRun:
    """A run that nobody owned, and that is claimed by who asked."""

    run_id: RunId
    last_seq: int
    """The number of its last record."""
    since: datetime
    """When its lease expired, in UTC by the clock of the server."""
