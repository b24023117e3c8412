"""The example of how a bot is tested, run where its user would run it."""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
from pathlib import Path

ROOT = Path(__file__).parents[2]


def test_it_is_green_in_a_project_of_somebody_else(tmp_path: Path) -> None:
    shutil.copy(ROOT / "examples" / "test_my_bot.py", tmp_path)

    run = subprocess.run(
        [sys.executable, "-m", "pytest", "-W", "error", "-q", "-p", "no:cacheprovider", "test_my_bot.py"],
        cwd=tmp_path,
        env={**os.environ, "PYTHONPATH": str(ROOT)},
        capture_output=True,
        text=True,
        check=False,
    )

    assert run.returncode == 0, run.stdout
    assert "12 passed" in run.stdout
