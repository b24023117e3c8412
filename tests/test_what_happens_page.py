"""The page of what can go wrong says all there is to know of each, and names tests that exist."""

from __future__ import annotations

import re
from pathlib import Path

import pytest

ROOT = Path(__file__).parent.parent
PAGE = (ROOT / "docs" / "what-happens-when.md").read_text(encoding="utf-8")
SECTIONS = dict(re.findall(r"^## (.+)\n((?:(?!## ).*\n)*)", PAGE, re.MULTILINE))
TOLD = {"Heard", "Seen", "Recorded", "Set"}


def test_every_section_is_found() -> None:
    assert len(SECTIONS) == PAGE.count("\n## ") > 10


@pytest.mark.parametrize("failure", SECTIONS)
def test_of_each_failure_is_told_what_is_heard_seen_and_recorded_and_what_to_set(failure: str) -> None:
    assert set(re.findall(r"^- \*\*(\w+):\*\* \S", SECTIONS[failure], re.MULTILINE)) >= TOLD


@pytest.mark.parametrize("test", sorted(set(re.findall(r"`(tests/\S+?\.py)`", PAGE))))
def test_a_test_that_the_page_names_exists(test: str) -> None:
    assert re.search(r"^(async )?def test_", (ROOT / test).read_text(encoding="utf-8"), re.MULTILINE)
