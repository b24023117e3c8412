"""What the doctor finds of a machine, and of the journal that is named."""

from __future__ import annotations

import tomllib
from importlib import metadata
from pathlib import Path

import pytest

from realtime_async.cli import _doctor
from tests.cli.asked import ROOT, ask, ask_json
from tests.cli.running import left_by_its_reader
from tests.postgres_server import PASSWORD

__all__: list[str] = []


def test_the_doctor_says_what_there_is(url: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("OPENAI_API_KEY", "sk-mauve-door")

    asked, (told,) = ask("doctor", "--journal", url), ask_json("doctor", "--journal", url)

    assert asked.exit_code == 0
    assert "sk-mauve-door" not in asked.output
    assert told["keys"]["OPENAI_API_KEY"] == "set"
    assert told["extras"]["cli"] == "installed"
    assert told["journal"] == f"{url} can be read"
    assert told["package"] == metadata.version("realtime-async")
    assert told["audio"]


def test_the_doctor_finds_a_journal_that_cannot_be_reached() -> None:
    asked = ask("doctor", "--journal", f"postgresql://carol:{PASSWORD}@127.0.0.1:1/calls")

    assert asked.exit_code == 2
    assert "cannot be reached" in asked.stdout
    assert PASSWORD not in asked.output


def test_the_doctor_ends_by_a_damaged_journal_as_the_other_commands_do(tmp_path: Path) -> None:
    path = tmp_path / "calls.db"
    path.write_bytes(b"SQLite format 3\0" + bytes(4096))

    asked = [ask(command, "--journal", f"sqlite:{path}") for command in ("doctor", "runs", "verify")]

    assert [each.exit_code for each in asked] == [1, 1, 1]
    assert "choose another path" in asked[0].stdout


def test_the_doctor_finds_it_though_nobody_reads_what_he_says() -> None:
    assert left_by_its_reader("doctor", "--journal", "sqlite:/nowhere/calls.db") == (2, b"")


def test_the_doctor_names_what_an_extra_lacks(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(_doctor, "EXTRAS", {"moon": ("json", "no_such_module")})

    (told,) = ask_json("doctor")

    assert told["extras"] == {"moon": "no_such_module missing"}
    assert told["journal"] == "none was named"


def test_the_doctor_knows_every_extra_that_brings_something_to_run() -> None:
    pyproject = tomllib.loads((ROOT / "pyproject.toml").read_text(encoding="utf-8"))
    known = set(pyproject["project"]["optional-dependencies"])

    assert set(_doctor.EXTRAS) | {"docs", "examples", "test"} == known
