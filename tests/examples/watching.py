"""What an example left behind, and what its adapter was asked for, as the oracle wants them."""

from __future__ import annotations

import io
import json
import os
import re
import signal
import struct
import subprocess
import sys
from collections.abc import AsyncIterator, Callable, Iterator, Sequence
from contextlib import asynccontextmanager, contextmanager, suppress
from pathlib import Path
from types import ModuleType
from typing import Any

import anyio
import attrs
import pytest

from realtime_async import JournalRecord, RealtimeSession, RealtimeSessionSidecar, open_session
from realtime_async.journals import SqliteJournal
from realtime_async.ports import RealtimeProviderAdapter, RunId, RunJournal
from tests.controller.recording import RecordedJournal, recorded_adapter

__all__ = [
    "BACKENDS",
    "found",
    "full_pipe",
    "journal_of",
    "nobody_reads",
    "printed_as_ascii",
    "terminated_when",
    "watched_calls",
    "wav",
]

BACKENDS = ("asyncio", "trio")
SIGNALLED = Path(__file__).with_name("signalled.py")


def found(pattern: str, text: str) -> str:
    match = re.search(pattern, text, re.MULTILINE)
    assert match is not None, text
    return match[1]


@contextmanager
def nobody_reads(monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    """Let standard output be a pipe whose reader is gone."""
    reading, writing = os.pipe()
    os.close(reading)
    with open(writing, "w", encoding="utf-8") as gone, monkeypatch.context() as patch:  # noqa: PTH123
        patch.setattr(sys, "stdout", gone)
        yield


@contextmanager
def full_pipe() -> Iterator[tuple[io.BufferedReader, int]]:
    """A pipe that takes nothing before somebody reads: the end that does, and the other one's file descriptor."""
    reading, writing = os.pipe()
    with open(reading, "rb") as reader, open(writing, "wb", buffering=0) as writer:  # noqa: PTH123
        os.set_blocking(writing, False)
        for size in (4096, 1):
            with suppress(BlockingIOError):
                while os.write(writing, b"-" * size):
                    pass
        # Whoever has it as standard output has it as it comes from a shell.
        os.set_blocking(writing, True)
        yield reader, writer.fileno()


def printed_as_ascii(monkeypatch: pytest.MonkeyPatch, program: Callable[[Sequence[str]], None]) -> bytes:
    """What *program* writes to an output that has no letter é, when that is said to it."""
    written = io.BytesIO()

    def said(*_: object, **_options: object) -> None:
        print("said:  Café")

    with io.TextIOWrapper(written, encoding="ascii", newline="\n") as output, monkeypatch.context() as patch:
        patch.setenv("OPENAI_API_KEY", "sk-none")
        patch.setattr(anyio, "run", said)
        patch.setattr(sys, "stdout", output)
        program([])
        output.flush()
        return written.getvalue()


def wav(sound: bytes, *, rate: int = 24_000, sample_bytes: int = 2) -> bytes:
    """A WAV file with one channel, whose header may be nonsense."""
    header = struct.pack(
        "<4sI8sIHHIIHH4sI", b"RIFF", 36 + len(sound), b"WAVEfmt ", 16, 1, 1, rate, rate * sample_bytes, sample_bytes,
        8 * sample_bytes, b"data", len(sound),
    )  # fmt: skip
    return header + sound


def journal_of(path: Path, run_id: str) -> list[dict[str, Any]]:
    return anyio.run(_read, path, run_id)


async def _read(path: Path, run_id: str) -> list[dict[str, Any]]:
    async with SqliteJournal.open(path) as journal:
        return [_as_json(record) async for record in journal.read(RunId(run_id))]


def _as_json(record: JournalRecord) -> dict[str, Any]:
    plain: dict[str, Any] = json.loads(json.dumps(attrs.asdict(record), default=str))
    return plain


async def until(condition: Callable[[], bool]) -> None:
    """Other processes are waited for, so time is what passes."""
    while not condition():  # noqa: ASYNC110 - nobody in this process could set an event
        await anyio.sleep(0.05)


def watched_calls(monkeypatch: pytest.MonkeyPatch, example: ModuleType) -> list[dict[str, Any]]:
    """Let the sessions that *example* opens be watched; the list fills with the adapter's calls."""
    calls: list[dict[str, Any]] = []

    @asynccontextmanager
    async def watched(
        sidecar: RealtimeSessionSidecar,
        adapter: RealtimeProviderAdapter,
        journal: RunJournal,
        *,
        run_id: str,
        **options: Any,
    ) -> AsyncIterator[RealtimeSession]:
        recorded_journal = RecordedJournal(journal)
        recorded = recorded_adapter(adapter, recorded_journal, run_id)
        async with open_session(sidecar, recorded, recorded_journal, run_id=run_id, **options) as session:
            yield session
        calls.extend(recorded.log)

    monkeypatch.setattr(example, "open_session", watched)
    return calls


def terminated_when(
    line: str,
    example: ModuleType,
    folder: Path,
    arguments: Sequence[str] = (),
    by: signal.Signals = signal.SIGTERM,
) -> tuple[int, str]:
    """Run *example*, which gets a signal when it prints *line*; return its exit code and all that it printed."""
    assert example.__file__ is not None
    program = [sys.executable, str(SIGNALLED), by.name, line, example.__file__, *arguments]
    ended = subprocess.run(program, cwd=folder, stdout=subprocess.PIPE, text=True, check=False)
    return ended.returncode, ended.stdout
