"""A journal that stalls in the midst of a call: audio goes on for a span, then waits, and nothing is lost."""

from __future__ import annotations

from itertools import pairwise

import anyio
import pytest

from realtime_async import MediaSpan, open_session
from realtime_async.journals import MemoryJournal
from realtime_async.ports import RunId
from realtime_async.testing.journals import FaultyJournal, JournalFault
from tests.controller.staged import audio, plain_sidecar
from tests.test_session import Call

pytestmark = pytest.mark.virtual_time

STALL_S = 5.0
FRAME_S = 0.02
SPAN = 50


async def test_audio_goes_on_for_a_span_then_waits_and_nothing_is_lost() -> None:
    call, inner = Call(), MemoryJournal()
    # After the connection, the receive and the first two spans: an intent that is needed a span later.
    journal = FaultyJournal(inner, fail_at=6, how=JournalFault.STALL, stall_s=STALL_S)
    sidecar = plain_sidecar(span=MediaSpan(frames=SPAN, seconds=60.0))
    taken: list[float] = []

    async with open_session(sidecar, call.adapter, journal, run_id="run-1") as session:
        for number in range(1, 501):
            await anyio.sleep_until(number * FRAME_S)
            await session.send(audio(number))
            taken.append(anyio.current_time())

    waits = [later - earlier for earlier, later in pairwise(taken)]
    stalled = waits.index(max(waits))
    assert STALL_S - SPAN * FRAME_S - 0.1 <= max(waits) <= STALL_S
    assert (stalled + 1) % SPAN == 0, "it waits between two spans, and never within one"
    assert sum(wait > 2 * FRAME_S for wait in waits) == 1
    assert [str(frame.frame_id) for frame in call.adapter.sent] == [
        str(audio(n).frame_id) for n in range(1, 501)
    ]
    assert (session.delivery.sent, session.delivery.in_doubt) == (500, 0)
    kinds = [str(record.payload.kind) async for record in inner.read(RunId("run-1"))]
    assert kinds[-1] == "closed"
