"""The page of licences says of each package what the package says of itself."""

from __future__ import annotations

import re
import tomllib
from importlib.metadata import metadata
from pathlib import Path

import pytest
from packaging.requirements import Requirement

ROOT = Path(__file__).parent.parent
PROJECT = tomllib.loads((ROOT / "pyproject.toml").read_text(encoding="utf-8"))["project"]
PAGE = (ROOT / "docs" / "licences.md").read_text(encoding="utf-8")


REQUIREMENTS = [
    Requirement(each)
    for each in PROJECT["dependencies"]
    + PROJECT["optional-dependencies"]["local"]
    + PROJECT["optional-dependencies"]["postgres"]
]


def names(requirements: list[Requirement]) -> list[str]:
    """The packages asked for; the extras of some are packages, too."""
    called = {"binary": "psycopg-binary"}
    return [called.get(name, name) for each in requirements for name in (each.name, *sorted(each.extras))]


# Some have no wheel for every Python.
INSTALLED = [each for each in REQUIREMENTS if each.marker is None or each.marker.evaluate()]


def declared(name: str) -> str:
    """The licence that the installed package declares."""
    told = metadata(name).json
    classifiers = [each for each in told.get("classifier", []) if each.startswith("License ::")]
    stated = told.get("license_expression") or told.get("license")
    # The older field may hold the whole text.
    if isinstance(stated, str) and "\n" not in stated:
        return stated
    return " ".join(each.rpartition(":: ")[2] for each in classifiers) or "declares none"


@pytest.mark.parametrize("name", names(INSTALLED))
def test_the_page_tells_the_licence_that_a_package_declares(name: str) -> None:
    row = next(line for line in PAGE.splitlines() if line.startswith(f"| `{name}` |"))

    # "MIT" and "MIT License" are the same to whoever declares them.
    assert declared(name).removesuffix(" License") in row


def test_the_page_names_no_package_that_is_not_needed() -> None:
    named = re.findall(r"^\| `([\w-]+)` \|", PAGE, re.MULTILINE)

    assert sorted(named) == sorted(names(REQUIREMENTS))


def test_the_package_itself_is_under_the_licence_that_the_page_names() -> None:
    assert PROJECT["license"] == "MIT"
    assert "`realtime_async` is under the MIT licence" in PAGE
