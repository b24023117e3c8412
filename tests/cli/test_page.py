"""The page on the command shows the help of each."""

from __future__ import annotations

import re
from pathlib import Path

import pytest

from tests.cli.asked import ask

__all__: list[str] = []

PAGE = Path(__file__).parent.parent.parent / "docs" / "command.md"


def commands() -> list[str]:
    listed = ask("--help", TERM="dumb", COLUMNS="100").stdout.partition("Commands:")[2]
    return [line.split()[0] for line in listed.splitlines() if re.match(r"  \w", line)]


def help_of(command: str) -> str:
    return ask(command, "--help", TERM="dumb", COLUMNS="100").stdout.strip()


def section(command: str) -> str:
    return f"### {command}\n\n```text\n{help_of(command)}\n```\n"


@pytest.mark.parametrize("command", commands())
def test_the_page_shows_the_help_of_each_command(command: str) -> None:
    assert section(command) in PAGE.read_text(encoding="utf-8")


def test_the_page_shows_no_other_command() -> None:
    assert re.findall(r"^### (\w+)$", PAGE.read_text(encoding="utf-8"), re.MULTILINE) == commands()
