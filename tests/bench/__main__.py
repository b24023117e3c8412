"""
What a session costs: per frame, per journal record, per hour and per session.

Run as `python -m tests.bench`, alone on the machine if you can.
Each figure stands beside what it is to reach; one that doesn't is no failure.
"""

from __future__ import annotations

import argparse
import json
import logging
import os
import platform
import sqlite3
import time
from collections.abc import Callable, Iterator, Mapping
from importlib.metadata import version
from pathlib import Path
from tempfile import TemporaryDirectory

import structlog

from tests.bench.appending import append_waits, throughput
from tests.bench.conversing import turns, wire_memory
from tests.bench.figures import Table
from tests.bench.footprint import footprint
from tests.bench.frame_cost import frames_cost, receive_cost, send_cost
from tests.bench.idling import idling
from tests.bench.interrupting import interrupting
from tests.bench.paced import paced
from tests.bench.postgres import postgres
from tests.bench.postgres_calls import postgres_calls
from tests.bench.recovering import recovering
from tests.bench.resuming import resuming
from tests.bench.stage import FRAME, FRAME_S, SIDECAR, Effort, Records
from tests.bench.supervised import supervised
from tests.bench.wire import duplex, paced_wire

__all__ = ["main"]

SECTIONS: Mapping[str, Callable[[Effort, Path], Iterator[Table]]] = {
    "footprint": footprint,
    "idle": idling,
    "append": append_waits,
    "throughput": throughput,
    "postgres": postgres,
    "postgres-calls": postgres_calls,
    "send": send_cost,
    "receive": receive_cost,
    "frames": frames_cost,
    "paced": paced,
    "supervised": supervised,
    "resume": resuming,
    "recovery": recovering,
    "interrupt": interrupting,
    "duplex": duplex,
    "paced-wire": paced_wire,
    "wire-memory": wire_memory,
    "turns": turns,
}

FULL = Effort(
    sessions=(1, 50),
    rounds=5,
    frames={Records.PER_FRAME: 2_500, Records.SPANS: 10_000},
    paced_s=2.0,
    paced_alone_s=10.0,
    supervised_sessions=50,
    appends=400,
    runs_appends=50,
    call_s=3600,
    recovered_records=1_000_000,
    open_sessions=200,
    idle_sessions=1_000,
    talking_sessions=20,
    turns=(100, 1_000),
)
QUICK = Effort(
    sessions=(1, 5),
    rounds=1,
    frames={Records.PER_FRAME: 100, Records.SPANS: 500},
    paced_s=0.1,
    paced_alone_s=0.1,
    supervised_sessions=5,
    appends=50,
    runs_appends=5,
    call_s=60,
    recovered_records=10_000,
    open_sessions=20,
    idle_sessions=100,
    talking_sessions=1,
    turns=(10, 20),
)


def settings(effort: Effort, directory: Path) -> dict[str, str]:
    """What the figures depend on."""
    span = SIDECAR[Records.SPANS].span
    assert span is not None
    return {
        "Python": f"{platform.python_implementation()} {platform.python_version()}",
        "packages": ", ".join(
            f"{name} {version(name)}"
            for name in ("realtime-async", "anyio", "trio", "attrs", "orjson", "websockets")
        ),
        "SQLite": f"{sqlite3.sqlite_version}, WAL, synchronous FULL, in {directory}",
        "machine": f"{platform.system()} {platform.release()}, {_processor()}, {os.cpu_count()} core(s)",
        "load": ", ".join(f"{each:.1f}" for each in os.getloadavg())
        if hasattr(os, "getloadavg")
        else "unknown",
        "frames": f"{len(FRAME)} bytes of audio, {FRAME_S * 1000:.0f} ms each",
        "spans": f"{span.frames} frames or {span.seconds:g} s",
        "a reading": ", ".join(f"{count:,} frames {records}" for records, count in effort.frames.items())
        + f"; paced {effort.paced_s:g} s, one session {effort.paced_alone_s:g} s; {effort.appends} appends",
        "rounds": f"{effort.rounds}, of one paced session fewer; a figure is their median, with the least and the most",
        "logs": "below warning are dropped",
        "CPU": "of the process with all its threads; waits are by the clock",
    }


def _processor() -> str:
    try:
        lines = Path("/proc/cpuinfo").read_text(encoding="utf-8").splitlines()
    except OSError:
        return platform.processor() or platform.machine()
    names = [line.partition(":")[2].strip() for line in lines if line.startswith("model name")]
    return names[0] if names else platform.machine()


def main() -> None:
    parser = argparse.ArgumentParser(prog="python -m tests.bench", description=__doc__)
    parser.add_argument(
        "--quick", action="store_true", help="one short round: to see that it runs, not how fast"
    )
    parser.add_argument("--only", action="append", choices=SECTIONS, help="may be given more than once")
    parser.add_argument("--json", type=Path, metavar="FILE", help="write every reading there too")
    options = parser.parse_args()

    # The sessions of a round say hundreds of times that they are connected.
    structlog.configure(wrapper_class=structlog.make_filtering_bound_logger(logging.WARNING))
    effort = QUICK if options.quick else FULL
    figures = []
    with TemporaryDirectory() as folder:
        directory = Path(folder)
        conditions = settings(effort, directory)
        for name, value in conditions.items():
            print(f"{name:10} {value}")
        began = time.monotonic()
        for name in options.only or SECTIONS:
            for table in SECTIONS[name](effort, directory):
                print(f"\n{table}", flush=True)
                figures += list(table.as_json())
    reached = [each["verdict"] for each in figures if each["verdict"] is not None]
    print(
        f"\n{reached.count('reached')} of {len(reached)} goals reached, in {time.monotonic() - began:.0f} s"
    )
    if options.json is not None:
        report = {"settings": conditions, "figures": figures}
        options.json.write_text(json.dumps(report, indent=1, ensure_ascii=False), encoding="utf-8")


if __name__ == "__main__":
    main()
