"""The reference documents every public name, and no other."""

from __future__ import annotations

import pkgutil
import re
from collections.abc import Iterator
from importlib import import_module
from pathlib import Path

import pytest

import realtime_async

PAGE = Path(__file__).parent.parent / "docs" / "reference.md"

DIRECTIVE = re.compile(
    r"^( *)\.\. auto(?P<kind>\w+):: (?P<name>\S+)(?P<options>(?:\n\1 {3}:.*)*)", re.MULTILINE
)

# The modules of an adapter or a sound device are its own affair; its package says what is public of them.
THEIR_OWN_AFFAIR = re.compile(r"realtime_async\.(adapters\.\w+|audio)\.")
EXCEPT = {"realtime_async.adapters.local.wav"}


def public_modules() -> Iterator[str]:
    yield "realtime_async"
    for found in pkgutil.walk_packages(realtime_async.__path__, "realtime_async."):
        is_private = "._" in found.name or THEIR_OWN_AFFAIR.match(found.name)
        if not is_private or found.name in EXCEPT:
            yield found.name


MODULES = list(public_modules())


def resolved(path: str) -> object:
    """The object that *path* leads to through modules and classes."""
    parts = path.split(".")
    for length in range(len(parts), 0, -1):
        try:
            found: object = import_module(".".join(parts[:length]))
        except ModuleNotFoundError:
            continue
        for name in parts[length:]:
            found = getattr(found, name)
        return found
    raise AssertionError(f"the reference names {path}, which does not exist")


def documented() -> list[tuple[str, object]]:
    """Each name with its object; a module stands for all that it offers."""
    names: list[tuple[str, object]] = []
    for found in DIRECTIVE.finditer(PAGE.read_text(encoding="utf-8")):
        path = found["name"]
        if found["kind"] == "method":
            continue
        if found["kind"] != "module":
            names.append((path.rpartition(".")[2], resolved(path)))
        elif ":no-members:" not in found["options"]:
            module = import_module(path)
            names += [(name, getattr(module, name)) for name in module.__all__]
    return names


@pytest.mark.parametrize("module", MODULES)
def test_every_public_name_is_in_the_reference(module: str) -> None:
    offered = import_module(module)
    known = documented()

    missing = [
        name
        for name in offered.__all__
        if not any(name == other and getattr(offered, name) is found for other, found in known)
    ]

    assert missing == ([] if module != "realtime_async" else ["__version__"])


@pytest.mark.parametrize("module", MODULES)
def test_what_a_module_offers_it_has(module: str) -> None:
    offered = import_module(module)

    assert [name for name in offered.__all__ if not hasattr(offered, name)] == []
    assert len(set(offered.__all__)) == len(offered.__all__)
