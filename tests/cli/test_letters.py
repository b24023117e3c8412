"""What the command prints where its output has no letters for it, or where what names a file is no text."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from pathlib import Path

import anyio
import pytest

from realtime_async.journals import SqliteJournal, read_export
from realtime_async.testing._journal_records import full_record
from tests.cli.asked import ROOT, RUN
from tests.cli.running import PROGRAM

__all__: list[str] = []

RECORD = full_record(RUN, 1)
# A name, and how it is told.  On Linux alone it may be bytes that are no text.
ODD_NAME = (
    (os.fsdecode(b"calls-\xff.db"), "calls-\ufffd.db")
    if sys.platform == "linux"
    else ("calls-日.db", "calls-日.db")
)


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    async def write() -> None:
        async with SqliteJournal.open(tmp_path / "calls.db") as journal:
            await journal.append(RECORD)

    anyio.run(write)
    return tmp_path


def asked(folder: Path, *command: str, encoding: str = "utf-8") -> bytes:
    """What the command prints in *folder*, where its output has *encoding*."""
    surroundings = {**os.environ, "PYTHONIOENCODING": encoding, "PYTHONPATH": str(ROOT)}
    done = subprocess.run(
        [*PROGRAM, *command], cwd=folder, env=surroundings, capture_output=True, check=False
    )
    assert (done.returncode, done.stderr) == (0, b"")
    return done.stdout


@pytest.mark.parametrize("encoding", ["ascii", "cp1252", "utf-8"])
def test_an_export_is_read_back_whatever_the_encoding_of_the_output(encoding: str, folder: Path) -> None:
    printed = asked(folder, "export", RUN, "--journal", "sqlite:calls.db", encoding=encoding)

    assert list(read_export(printed.splitlines())) == [RECORD]


@pytest.mark.parametrize("command", [["runs"], ["show", RUN]], ids=" ".join)
def test_json_keeps_its_letters_where_the_output_has_none_for_them(command: list[str], folder: Path) -> None:
    (line,) = asked(folder, *command, "--json", "--journal", "sqlite:calls.db", encoding="ascii").splitlines()

    assert json.loads(line)["tags"] == list(RECORD.tags)


def test_a_file_may_be_called_what_the_output_has_no_letters_for(folder: Path) -> None:
    (folder / "calls.db").rename(folder / "日.db")

    printed = asked(folder, "doctor", "--journal", "sqlite:日.db", encoding="ascii")

    assert printed.splitlines()[-1].endswith(rb"sqlite:\u65e5.db can be read")


@pytest.mark.parametrize("form", [[], ["--json"]], ids=["text", "json"])
def test_a_file_whose_name_is_no_text_is_told(form: list[str], folder: Path) -> None:
    name, told = ODD_NAME
    (folder / "calls.db").rename(folder / name)

    printed = asked(folder, "doctor", *form, "--journal", f"sqlite:{name}")

    assert f"sqlite:{told} can be read" in printed.decode()
