"""What of the examples is tested where."""

from __future__ import annotations

import sys
from importlib.util import find_spec
from pathlib import Path

import pytest

from tests.examples.calling import Bot

# The recogniser has no wheel for Python 3.14 yet.
if sys.version_info >= (3, 14) and find_spec("pocketsphinx") is None:
    collect_ignore = [
        "test_agent_loop.py",
        "test_offline_bot.py",
        "test_offline_bot_live.py",
        "test_offline_bot_sounds.py",
        "test_show_journal.py",
        "test_trio_bot.py",
    ]


@pytest.fixture
def bot(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> Bot:
    monkeypatch.chdir(tmp_path)
    return Bot(tmp_path, capsys)
