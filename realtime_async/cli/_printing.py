"""Lines for people, JSON for programs, and how far a long reading is."""

from __future__ import annotations

import codecs
import errno
import json
import os
import re
import sys
from collections.abc import AsyncIterable, AsyncIterator, Iterator
from contextlib import contextmanager
from datetime import UTC, datetime
from functools import cache
from typing import Any

import orjson
from cattrs.preconf.orjson import make_converter
from rich.console import Console
from rich.progress import Progress, SpinnerColumn, TextColumn
from rich.text import Text

from realtime_async.cli._asking import plain
from realtime_async.cli._output import output
from realtime_async.ports import JournalRecord, RunSummary
from realtime_async.reports import Step, steps_of

__all__ = [
    "RUN_HEADINGS",
    "STEP_HEADINGS",
    "Counting",
    "as_json",
    "counted",
    "counting",
    "json_line",
    "line",
    "run_line",
    "step_line",
    "stepping",
    "when",
]

_CONVERTER = make_converter()
_NOT_ASCII = re.compile(r"[^\x00-\x7f]+")
RUN_HEADINGS = f"{'began':19}  {'last':19}  {'records':>8}  {'last record':20}  run"
STEP_HEADINGS = f"{'seq':>7}  {'time':12}  {'ms':>6}  {'kind':24}  {'sent':>6}  {'recv':>6}  {'frames':>6}  {'gate':>4}  about"


class Screen(Console):
    """Where lines go; that nobody reads them is for the command to know, as of all else that it prints."""

    def on_broken_pipe(self) -> None:
        # Rich would end the program with 1, which is the code for a finding.
        raise BrokenPipeError(errno.EPIPE, os.strerror(errno.EPIPE))


def line(text: str, style: str = "") -> None:
    """Print one line, which is never wrapped; colours are for terminals that want them."""
    with output():
        console = Screen(highlight=False, soft_wrap=True)
        console.print(Text(plain(text).rstrip(), style=style), no_wrap=True, crop=False, overflow="ignore")


def as_json(value: object) -> None:
    """Print *value*, of attrs classes and what JSON knows, as one line of JSON."""
    json_line(orjson.dumps(_CONVERTER.unstructure(value), default=_plain_value).decode())


def json_line(text: str) -> None:
    """Print a line of JSON, which is UTF-8: where the output is not, in letters that every encoding has."""
    with output() as stream:
        fits = text.isascii() or _is_utf8(stream.encoding)
        stream.write((text if fits else _NOT_ASCII.sub(_escaped, text)) + "\n")


@cache
def _is_utf8(encoding: str | None) -> bool:
    # What gathers text in memory has none.
    return encoding is None or codecs.lookup(encoding).name == "utf-8"


def _escaped(letters: re.Match[str]) -> str:
    return json.dumps(letters[0])[1:-1]


def _plain_value(value: object) -> Any:
    if isinstance(value, str):
        return str(value)
    if isinstance(value, tuple):
        return list(value)
    raise TypeError(type(value).__name__)


def counted(number: int, what: str) -> str:
    return f"{number} {what}" if number == 1 else f"{number} {what}s"


def when(millis: int | None) -> str:
    """A moment, in UTC."""
    at = _moment(millis)
    return "unreadable" if at is None else f"{at:%Y-%m-%d %H:%M:%S}"


def _moment(millis: int | None) -> datetime | None:
    """None: there is none, or it lies beyond every calendar, as a damaged record or a broken clock may say."""
    if millis is None:
        return None
    try:
        return datetime.fromtimestamp(millis / 1000, UTC)
    except (ValueError, OverflowError, OSError):
        return None


def run_line(run: RunSummary) -> str:
    kind = run.last_kind or "unreadable"
    return (
        f"{when(run.began_millis):19}  {when(run.last_millis):19}  {run.records:>8}  {kind:20}  {run.run_id}"
    )


def step_line(step: Step) -> str:
    record, payload = step.record, step.record.payload
    at = _moment(record.timestamp_millis)
    time = "unreadable" if at is None else f"{at:%H:%M:%S}.{at.microsecond // 1000:03}"
    took = "" if step.since_intent_s is None else f"{step.since_intent_s * 1000:.0f}"
    frames = "" if payload.extent is None else str(payload.extent.frames)
    gate = str(payload.backpressure_state.queued_frames or "")
    return (
        f"{record.journal_seq:>7}  {time:12}  {took:>6}  {payload.kind:24}  "
        f"{payload.send_cursor.chunk_sequence:>6}  {payload.receive_cursor.chunk_sequence:>6}  "
        f"{frames:>6}  {gate:>4}  {step.about}"
    )


async def stepping(records: AsyncIterable[JournalRecord]) -> AsyncIterator[Step]:
    """`steps_of` what comes bit by bit."""
    held: list[JournalRecord] = []
    steps = steps_of(_given(held))
    async for record in records:
        held.append(record)
        yield next(steps)


def _given(held: list[JournalRecord]) -> Iterator[JournalRecord]:
    while True:
        yield held.pop()


class Counting:
    """Says on a terminal how much was read."""

    def __init__(self, progress: Progress, what: str) -> None:
        self._progress = progress
        self._task = progress.add_task(what, total=None)

    def one_more(self) -> None:
        self._progress.advance(self._task)


@contextmanager
def counting(what: str) -> Iterator[Counting]:
    """Show on stderr, where that is a terminal, how much of *what* was read; then nothing of it stays."""
    console = Console(file=sys.stderr)
    columns = (SpinnerColumn(), TextColumn("{task.description}: {task.completed:,.0f}"))
    with Progress(
        *columns,
        console=console,
        transient=True,
        disable=not console.is_terminal,
        # What is printed meanwhile is no part of it, and goes where it was to go.
        redirect_stdout=False,
    ) as progress:
        yield Counting(progress, what)
