"""What each figure is to reach."""

from __future__ import annotations

from collections.abc import Mapping

from tests.bench.figures import AtLeast, AtMost, Goal
from tests.bench.stage import Loop, Operation, Records, Store

__all__ = [
    "ADDED_P99_MS",
    "ADDED_US",
    "APPEND_TO_COMMIT",
    "DUPLEX_TO_FLOOR",
    "HEARD_AFTER_INTERRUPT",
    "IMPORT_MS",
    "INTERRUPT_TOLD_P99_MS",
    "JOURNAL_MB_PER_HOUR",
    "LATE_TURN_TO_EARLY",
    "PACED_TO_FLOOR",
    "RECOVERY_GROWTH_MB",
    "RESUME_S",
    "SESSION_KB",
    "STALL_MS",
    "TEN_APPENDERS_TO_ONE",
    "THROUGHPUT_TO_RAW",
    "UNSTORED_APPEND_US",
    "WAIT_P50_TO_COMMIT",
    "WRITE_TO_COPY",
]

ADDED_US: Mapping[tuple[Operation, Store, Records], Goal] = {
    (Operation.SEND, Store.MEMORY, Records.PER_FRAME): AtMost(40),
    (Operation.SEND, Store.MEMORY, Records.SPANS): AtMost(8),
    (Operation.SEND, Store.SQLITE, Records.PER_FRAME): AtMost(100),
    (Operation.SEND, Store.SQLITE, Records.SPANS): AtMost(12),
}
"""CPU µs at goals' speed that the session adds to the adapter's call, per frame, saturated; of SQLite for 50 sessions."""

APPEND_TO_COMMIT: Mapping[Loop, Goal] = {Loop.ASYNCIO: AtMost(1.6), Loop.TRIO: AtMost(1.9)}
TEN_APPENDERS_TO_ONE: Goal = AtMost(1.5)
UNSTORED_APPEND_US: Mapping[Loop, Goal] = {Loop.ASYNCIO: AtMost(60), Loop.TRIO: AtMost(80)}
"""At goals' speed."""
THROUGHPUT_TO_RAW: Mapping[Loop, Goal] = {Loop.ASYNCIO: AtLeast(0.5), Loop.TRIO: AtLeast(0.3)}

# Of 50 paced sessions; the first is of those that write two durable records per frame.
WAIT_P50_TO_COMMIT: Goal = AtMost(3)
ADDED_P99_MS: Mapping[Records | None, Goal] = {Records.PER_FRAME: AtMost(10), Records.SPANS: AtMost(1)}

STALL_MS: Goal = AtMost(5)
"""That any task of the loop is late beside 50 paced sessions, at most."""

# The call of `interrupt` fences before anything else runs, so nothing more is heard.
HEARD_AFTER_INTERRUPT: Goal = AtMost(0)
INTERRUPT_TOLD_P99_MS: Goal = AtMost(5)

JOURNAL_MB_PER_HOUR: Goal = AtMost(5)
RESUME_S: Goal = AtMost(1)
# That a fold holds nothing of a record that is over: of a million, one reference to each would be 8 MB.
RECOVERY_GROWTH_MB: Goal = AtMost(8)
SESSION_KB: Goal = AtMost(64)
IMPORT_MS: Goal = AtMost(150)

# CPU, to that of a bare client; None: of the WebSocket alone.
DUPLEX_TO_FLOOR: Mapping[Records | None, Goal] = {
    None: AtMost(1.0),
    Records.SPANS: AtMost(1.5),
    Records.PER_FRAME: AtMost(4),
}
PACED_TO_FLOOR: Mapping[Records | None, Goal] = {
    None: AtMost(1.2),
    Records.SPANS: AtMost(1.2),
    Records.PER_FRAME: AtMost(3.5),
}

# Flat, but for what two medians of 20 turns differ by chance.
LATE_TURN_TO_EARLY: Goal = AtMost(1.1)

WRITE_TO_COPY: Mapping[int, Goal] = {8: AtMost(1.1), 64: AtMost(1.5)}
"""By the rows of a commit, in PostgreSQL."""
