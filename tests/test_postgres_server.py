"""Without a server, its tests say what they need; where that is asked for, they are left out."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

import pytest

from tests import postgres_server
from tests.postgres_server import VARIABLE

ROOT = Path(__file__).parent.parent
NEEDS_A_SERVER = "tests/journals/test_postgres_sync.py"
ASKS_FOR_ONE_LATER = "tests/journals/test_wording.py"


def test_without_a_server_its_tests_say_what_to_install(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(postgres_server, "programs", lambda: None)

    with pytest.raises(LookupError, match="apt-get install postgresql") as raised, postgres_server.cluster():
        pass

    assert f"{VARIABLE}=none leaves these tests out" in str(raised.value)


def test_what_needs_a_server_is_left_out_where_that_is_asked_for() -> None:
    ended = subprocess.run(
        [
            sys.executable,
            "-m",
            "pytest",
            "-q",
            "--collect-only",
            "-p",
            "no:cacheprovider",
            NEEDS_A_SERVER,
            ASKS_FOR_ONE_LATER,
            __file__,
        ],
        cwd=ROOT,
        env={**os.environ, VARIABLE: "none"},
        capture_output=True,
        text=True,
        check=False,
    )

    assert ended.returncode == 0, ended.stdout
    assert "test_what_needs_a_server_is_left_out" in ended.stdout
    assert NEEDS_A_SERVER not in ended.stdout
    assert f"{ASKS_FOR_ONE_LATER}::" in ended.stdout
    assert "-postgres]" not in ended.stdout
    assert " deselected" in ended.stdout
