"""A log that cannot be written changes nothing about a call: not what is done, not what is recorded."""

from __future__ import annotations

import logging
from collections.abc import Iterator
from typing import Any

import pytest
import structlog
from structlog.testing import capture_logs

from realtime_async import MediaSpan
from realtime_async.adapters.scripted import Drop, Fault, FrameFate, Refuse
from realtime_async.errors import JournalFailure
from realtime_async.journals import MemoryJournal
from realtime_async.testing.journals import FaultyJournal
from tests.controller.staged import Stage, StagedSession, text
from tests.controller.whole_call import WholeCall, answering, sidecar

pytestmark = pytest.mark.virtual_time

FAULTS: dict[str, dict[tuple[str, int], Fault]] = {
    "nothing": {},
    "refused": {(name, 1): Refuse() for name in ("connect", "send", "interrupt", "restart", "close")},
    "lost": {("send", 3): Drop(FrameFate.NOT_SENT)},
}


@pytest.fixture(
    params=[OSError(28, "No space left on device"), BrokenPipeError(), ValueError("a processor's own")],
    ids=lambda error: type(error).__name__,
)
def tried(request: pytest.FixtureRequest) -> Iterator[list[str]]:
    """The events that were to be logged, of which none could be."""
    events: list[str] = []

    def fail(logger: Any, method: str, event: Any) -> Any:
        events.append(event["event"])
        raise request.param

    before = structlog.get_config()
    structlog.configure(
        processors=[fail], wrapper_class=structlog.make_filtering_bound_logger(logging.NOTSET)
    )
    yield events
    structlog.configure(**before)


async def kinds_of_a_call(faults: str, span: MediaSpan | None) -> list[str]:
    """Have a whole call, looked at after each step; what it recorded."""
    staged = StagedSession(answering(faults=FAULTS[faults]), sidecar=sidecar(span))
    call = WholeCall(staged)
    await call.take(staged.check)
    assert call.receiver_ended
    return await staged.kinds()


@pytest.mark.parametrize("span", [None, MediaSpan(2, 60.0)], ids=["alone", "spans"])
@pytest.mark.parametrize("faults", FAULTS)
async def test_a_call_whose_log_cannot_be_written_records_what_another_does(
    faults: str, span: MediaSpan | None, tried: list[str]
) -> None:
    unheard = await kinds_of_a_call(faults, span)
    assert "realtime_closed" in tried or "realtime_close_failed" in tried

    with capture_logs():
        assert unheard == await kinds_of_a_call(faults, span)


async def test_a_journal_that_fails_is_told_to_the_caller_though_not_to_the_log(
    stage: Stage, tried: list[str]
) -> None:
    staged = await stage.connected(journal=FaultyJournal(MemoryJournal(), fail_at=3, how="before"))

    with pytest.raises(JournalFailure):
        await staged.controller.send(text())

    assert "journal_failed" in tried
