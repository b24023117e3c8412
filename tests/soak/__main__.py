"""
Hold calls with a provider that goes wrong again and again, and see that nothing grows.

Every session sends 50 frames a second over a real WebSocket, and all write one SQLite journal with full durability.
It ends with 1 where a call broke a promise, or where memory, file descriptors or threads went on growing.
"""

from __future__ import annotations

import argparse
import logging
import sys
import tempfile
from collections.abc import Sequence
from functools import partial
from pathlib import Path
from statistics import median

import anyio
import structlog

from realtime_async.journals import SqliteJournal
from realtime_async.testing.clock import BACKENDS
from tests.soak.calls import Tally, call_again_and_again
from tests.soak.footprint import Sample, sample
from tests.soak.provider import running_provider

SAMPLE_S = 1.0
# While caches fill and the interpreter adapts itself.
WARM_UP = 1 / 6
# Of the last third against the first after that.
GROWTH_MB = 8.0
GROWTH_COUNT = 5


async def soak(
    urls: Sequence[str], sessions: int, seconds: float, call_s: float, tally: Tally
) -> list[Sample]:
    """Hold *sessions* calls at a time for *seconds*; what the process took meanwhile."""
    samples: list[Sample] = []
    with tempfile.TemporaryDirectory() as folder:
        async with SqliteJournal.open(Path(folder) / "calls.db") as journal:
            until = anyio.current_time() + seconds
            async with anyio.create_task_group() as tasks:
                for number in range(sessions):
                    # At the same time none of them ends, or all of them would.
                    length = call_s * (0.5 + number / sessions)
                    url = urls[number % len(urls)]
                    tasks.start_soon(
                        call_again_and_again, url, journal, f"caller-{number}", length, until, tally
                    )
                await _watch(samples, until, tally)
    return samples


async def _watch(samples: list[Sample], until: float, tally: Tally) -> None:
    began = due = anyio.current_time()
    told_at = began
    while due < until:
        await anyio.sleep_until(due)
        samples.append(sample(due - began, sum(tally.reasons.values())))
        if due - told_at >= 60:
            told_at = due
            print(_line(samples[-1], tally), flush=True)
        due += SAMPLE_S


def _line(last: Sample, tally: Tally) -> str:
    counts = tally.counts
    return (
        f"{last.at_s / 60:5.1f} min  {last.resident_mb:6.1f} MB  {last.descriptors} descriptors  {last.threads} threads  "
        f"{counts['calls']} calls, {counts['frames']:,} frames, {counts['answers']} answers, "
        f"{last.restarts} restarts, {counts['dropped']} dropped, {counts['in_doubt']} in doubt"
    )


def growth(samples: Sequence[Sample]) -> dict[str, float]:
    """How much more the last third took than the first, by medians, once it was warm."""
    warm = samples[int(len(samples) * WARM_UP) :]
    third = max(1, len(warm) // 3)
    early, late = warm[:third], warm[-third:]
    return {
        name: median(getattr(each, name) for each in late) - median(getattr(each, name) for each in early)
        for name in ("resident_mb", "descriptors", "threads")
    }


def verdicts(samples: Sequence[Sample], tally: Tally) -> list[str]:
    """What does not hold."""
    allowed = {"resident_mb": GROWTH_MB, "descriptors": GROWTH_COUNT, "threads": GROWTH_COUNT}
    grown = [f"{name} grew by {more:.1f}" for name, more in growth(samples).items() if more > allowed[name]]
    return [*grown, *tally.broken]


def main() -> int:
    parser = argparse.ArgumentParser(prog="python -m tests.soak", description=__doc__)
    parser.add_argument("--minutes", type=float, default=30.0)
    parser.add_argument("--sessions", type=int, default=20)
    parser.add_argument("--call", type=float, default=120.0, metavar="SECONDS", help="how long a call is")
    parser.add_argument(
        "--fault", type=float, default=5.0, metavar="SECONDS", help="between two faults, on the average"
    )
    parser.add_argument("--backend", choices=BACKENDS, default="asyncio")
    parser.add_argument("--picture", type=Path, metavar="FILE.svg", help="draw what the process took")
    asked = parser.parse_args()
    structlog.configure(wrapper_class=structlog.make_filtering_bound_logger(logging.CRITICAL))
    tally = Tally()
    with running_provider(asked.fault) as urls:
        hold = partial(soak, urls, asked.sessions, asked.minutes * 60, asked.call, tally)
        samples = anyio.run(hold, backend=asked.backend)
    print(_line(samples[-1], tally))
    print(", ".join(f"{count} {reason}" for reason, count in tally.reasons.most_common()) or "no restarts")
    print(
        f"longest outage {tally.worst_outage_s:.2f} s, slowest send {tally.slowest_send_s * 1e3:.0f} ms, "
        f"{tally.counts['replayed']:,} frames replayed, {tally.counts['unconfirmed']} unconfirmed"
    )
    print("growth: " + ", ".join(f"{name} {more:+.1f}" for name, more in growth(samples).items()))
    if asked.picture is not None:
        from tests.soak.picture import draw

        draw(samples, asked.picture, f"{asked.sessions} sessions, {asked.minutes:g} min, {asked.backend}")
    wrong = verdicts(samples, tally)
    for each in wrong[:20]:
        print(f"FAILED: {each}")
    return int(bool(wrong))


if __name__ == "__main__":
    sys.exit(main())
