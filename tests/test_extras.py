"""Whoever needs what an extra brings, and lacks it, is told which one to install."""

from __future__ import annotations

import subprocess
import sys

import pytest

from realtime_async._extras import needs

WITHOUT = """
import importlib, sys
sys.modules[sys.argv[1]] = None
getattr(importlib.import_module(sys.argv[2]), sys.argv[3])
"""


@pytest.mark.parametrize(
    "module, name, missing, by, extra",
    [
        ("adapters.gemini", "GeminiLiveAdapter", "websockets", "the Gemini adapter", "gemini"),
        ("adapters.local", "LocalSpeechAdapter", "numpy", "the local speech adapter", "local"),
        ("adapters.openai", "OpenAIRealtimeAdapter", "websockets", "the OpenAI adapter", "openai"),
        ("adapters.openai.config", "OpenAIRealtimeConfig", "websockets", "the OpenAI adapter", "openai"),
        ("journals", "PostgresJournal", "psycopg", "PostgresJournal", "postgres"),
        ("testing.loopback", "LoopbackOpenAI", "websockets", "a provider on loopback", "test"),
        ("testing.loopback.gemini", "GeminiScript", "websockets", "a provider on loopback", "test"),
    ],
)
def test_what_is_missing_is_told_with_what_to_install(
    module: str, name: str, missing: str, by: str, extra: str
) -> None:
    ended = subprocess.run(
        [sys.executable, "-c", WITHOUT, missing, f"realtime_async.{module}", name],
        capture_output=True,
        text=True,
        check=False,
    )

    assert ended.returncode == 1
    last = ended.stderr.splitlines()[-1]
    assert last == f"ModuleNotFoundError: {by} needs {missing}: pip install 'realtime-async[{extra}]'"


def test_what_no_extra_brings_is_told_as_it_is() -> None:
    with (
        pytest.raises(ModuleNotFoundError, match=r"^No module named 'websockets_of_mine'$"),
        needs("websockets", by="the OpenAI adapter", extra="openai"),
    ):
        raise ModuleNotFoundError("No module named 'websockets_of_mine'", name="websockets_of_mine")


def test_a_part_that_is_missing_is_told_as_the_whole() -> None:
    with (
        pytest.raises(ModuleNotFoundError, match=r"^it needs websockets: .*\[openai\]'$") as told,
        needs("websockets", by="it", extra="openai"),
    ):
        raise ModuleNotFoundError("No module named 'websockets.sansio'", name="websockets.sansio")

    assert told.value.name == "websockets"
