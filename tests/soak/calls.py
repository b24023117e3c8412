"""
Calls one after the other, each by a caller who speaks like a clock, and what has to be true of each.

A call speaks for two seconds, is silent for one, and hears answers; now and then it talks over one.
"""

from __future__ import annotations

import time
from collections import Counter
from collections.abc import Iterator
from contextlib import suppress
from functools import partial

import anyio
import attrs

from realtime_async import (
    DeadlineExceeded,
    ProviderConnectionLost,
    ProviderFailure,
    RealtimeInputFrame,
    RealtimeSession,
    RealtimeSessionSidecar,
    RestartPolicy,
    open_session,
)
from realtime_async.adapters.openai import OpenAIRealtimeAdapter, OpenAIRealtimeConfig
from realtime_async.ports import ResponseDone, ResponseStarted, Restarted, RunJournal, SpeechStarted
from realtime_async.testing.loopback.hearing import FRAME_MS, numbered_audio
from tests.soak.provider import KEY

__all__ = ["Tally", "call_again_and_again"]

FRAME_S = FRAME_MS / 1000
LOUD_FRAMES, QUIET_FRAMES = 100, 50
SILENCE = bytes(960)
LOUD = numbered_audio(0)
REDIAL_S = 0.5
# Every so many answers the caller talks over one.
TALKS_OVER = 5

# As for a provider that comes back within seconds; many, as it will be away hundreds of times.
PATIENT = RestartPolicy(attempts=100, max_wait_s=1.0, lifetime_attempts=100_000)


@attrs.define
class Tally:
    """What has come of all calls so far."""

    counts: Counter[str] = attrs.field(factory=Counter)
    reasons: Counter[str] = attrs.field(factory=Counter)
    """Of restarts."""
    slowest_send_s: float = 0.0
    worst_outage_s: float = 0.0
    broken: list[str] = attrs.field(factory=list)
    """Promises that a call did not keep."""


async def call_again_and_again(
    url: str, journal: RunJournal, name: str, call_s: float, until: float, tally: Tally
) -> None:
    """Make calls of *call_s* seconds until the loop's clock shows *until*."""
    config = OpenAIRealtimeConfig(model="gpt-realtime", api_key=KEY, base_url=url)
    number = 0
    async with OpenAIRealtimeAdapter(config) as adapter:
        while anyio.current_time() < until:
            number += 1
            ends_at = min(until, anyio.current_time() + call_s)
            sidecar = RealtimeSessionSidecar.voice_defaults("soak")
            open_one = partial(
                open_session, sidecar, adapter, journal, run_id=f"{name}-{number}", restart_policy=PATIENT
            )
            try:
                async with open_one() as session:
                    await _call(session, ends_at, tally)
            except ProviderFailure:
                # The provider was away when the call began, which its caller is told; he dials again.
                tally.counts["dialled in vain"] += 1
                await anyio.sleep(REDIAL_S)
                continue
            tally.counts["calls"] += 1
            tally.broken += [f"{name}-{number}: {each}" for each in _broken(session, tally)]


async def _call(session: RealtimeSession, ends_at: float, tally: Tally) -> None:
    async with anyio.create_task_group() as tasks:
        tasks.start_soon(_listen, session, tally)
        await _speak(session, ends_at, tally)
        tasks.cancel_scope.cancel()
    await session.close()


async def _speak(session: RealtimeSession, ends_at: float, tally: Tally) -> None:
    due = anyio.current_time()
    number = 0
    while due < ends_at:
        await anyio.sleep_until(due)
        is_loud = number % (LOUD_FRAMES + QUIET_FRAMES) < LOUD_FRAMES
        began = time.perf_counter()
        # In doubt, or not taken by a machine that is too busy; the totals tell.
        with suppress(ProviderConnectionLost, DeadlineExceeded):
            await session.send(RealtimeInputFrame.audio(LOUD if is_loud else SILENCE))
        tally.slowest_send_s = max(tally.slowest_send_s, time.perf_counter() - began)
        tally.counts["frames"] += 1
        number += 1
        due += FRAME_S


async def _listen(session: RealtimeSession, tally: Tally) -> None:
    counts = tally.counts
    async for frame in session.frames():
        match frame.event:
            case ResponseStarted():
                counts["answers"] += 1
                if counts["answers"] % TALKS_OVER == 0:
                    await session.interrupt(played_ms=100)
                    counts["interrupts"] += 1
            case ResponseDone(status):
                counts[f"answers {status}"] += 1
            case SpeechStarted():
                counts["turns"] += 1
            case Restarted(report):
                tally.reasons[report.reason] += 1
                tally.worst_outage_s = max(tally.worst_outage_s, report.outage_s)
                counts["replayed"] += sum(each.frames for each in report.replayed)
                counts["unconfirmed"] += sum(each.frames for each in report.unconfirmed)


def _broken(session: RealtimeSession, tally: Tally) -> Iterator[str]:
    """Name what does not add up in a call that has ended."""
    delivery = session.delivery
    tally.counts.update(
        sent=delivery.sent, dropped=delivery.dropped, in_doubt=delivery.in_doubt, refused=delivery.refused
    )
    if delivery.queued:
        yield f"{delivery.queued} frames have no end"
    if delivery.failed or delivery.refused:
        yield f"{delivery.failed} frames failed, {delivery.refused} were refused"
    if session.state.lifecycle_status != "closed":
        yield f"it is {session.state.lifecycle_status}"
