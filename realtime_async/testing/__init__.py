"""For those who test their agents, their adapters and their journals."""

from __future__ import annotations

from importlib import import_module
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from realtime_async.testing.journal_contract import JournalContract

__all__ = ["JournalContract"]

_HOMES = {"JournalContract": "realtime_async.testing.journal_contract"}


def __getattr__(name: str) -> object:
    if name not in _HOMES:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    return getattr(import_module(_HOMES[name]), name)
