"""Ears that are made once: most of an adapter's half a second goes into them."""

from __future__ import annotations

import sys
from collections.abc import Iterable
from functools import cache
from importlib.util import find_spec

import pytest

from realtime_async.adapters.local import adapter
from realtime_async.adapters.local.recogniser import Recogniser, recognisers
from realtime_async.adapters.local.vad import VoiceActivity, voice_activity

# What hears needs the recogniser, which has no wheel for Python 3.14 yet.
if sys.version_info >= (3, 14) and find_spec("pocketsphinx") is None:
    collect_ignore = [
        "test_bounds.py",
        "test_connections.py",
        "test_contract.py",
        "test_conversation.py",
        "test_interrupts.py",
        "test_recogniser.py",
        "test_sessions.py",
        "test_tools.py",
    ]

MOST_SESSIONS = 2


@cache
def made_recognisers(sentences: tuple[str, ...]) -> list[Recogniser]:
    return recognisers(sentences, MOST_SESSIONS)


@cache
def made_activities() -> list[VoiceActivity]:
    return [voice_activity() for _ in range(MOST_SESSIONS)]


@pytest.fixture
def ready_made_ears(monkeypatch: pytest.MonkeyPatch) -> None:
    """Let the adapters of this test, one at a time, use the same detectors and recognisers as those of others."""
    taken = 0

    def some_recognisers(sentences: Iterable[str], count: int) -> list[Recogniser]:
        return made_recognisers(tuple(sentences))[:count]

    def next_activity() -> VoiceActivity:
        nonlocal taken
        taken += 1
        return made_activities()[taken % MOST_SESSIONS]

    monkeypatch.setattr(adapter, "recognisers", some_recognisers)
    monkeypatch.setattr(adapter, "voice_activity", next_activity)
