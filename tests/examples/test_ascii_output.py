"""Standard output may have no letters for what a file is called, or for what is said."""

from __future__ import annotations

import subprocess
import sys
from collections.abc import Callable, Sequence
from pathlib import Path

import anyio
import pytest

from examples import agent_loop, make_question, offline_bot, show_journal
from realtime_async import open_session
from realtime_async.adapters.scripted import Script, ScriptedAdapter
from realtime_async.journals import SqliteJournal
from tests.controller.staged import plain_sidecar
from tests.examples.watching import printed_as_ascii


@pytest.mark.parametrize("main", [offline_bot.main, agent_loop.main], ids=["offline_bot", "agent_loop"])
def test_a_word_that_has_no_letters_ends_no_bot(
    main: Callable[[Sequence[str]], None], monkeypatch: pytest.MonkeyPatch
) -> None:
    assert printed_as_ascii(monkeypatch, main) == b"said:  Caf\\xe9\n"


def test_a_question_is_spoken_into_a_file_of_any_name(tmp_path: Path) -> None:
    assert last_line(tmp_path, make_question.__file__, "--output", "é.wav").startswith(b"\\xe9.wav: ")
    assert (tmp_path / "é.wav").exists()


def test_a_picture_is_drawn_into_a_file_of_any_name(tmp_path: Path) -> None:
    async def call() -> None:
        async with (
            SqliteJournal.open(tmp_path / "calls.db") as journal,
            open_session(plain_sidecar(), ScriptedAdapter(Script([])), journal, run_id="call-1"),
        ):
            pass

    anyio.run(call)

    assert last_line(tmp_path, show_journal.__file__, "calls.db", "--picture", "é.svg") == b"\\xe9.svg"


def last_line(folder: Path, *command: str) -> bytes:
    """What a program prints last where standard output is ASCII."""
    ended = subprocess.run(
        [sys.executable, "-c", AS_ASCII, *command], cwd=folder, stdout=subprocess.PIPE, check=True
    )
    return ended.stdout.splitlines()[-1]


AS_ASCII = """
import runpy, sys
sys.stdout.reconfigure(encoding="ascii", errors="strict")
del sys.argv[0]
runpy.run_path(sys.argv[0], run_name="__main__")
"""
