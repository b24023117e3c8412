"""An example whose extra is not installed says in a sentence which one that is."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import pytest

EXAMPLES = Path(__file__).parents[2] / "examples"

WITHOUT = """
import runpy, sys
sys.modules[sys.argv[1]] = None
sys.argv[:] = sys.argv[2:]
runpy.run_path(sys.argv[0], run_name="__main__")
"""


def told(example: str, *arguments: str, without: str) -> str:
    """What it says on its way out where *without* cannot be imported."""
    ended = subprocess.run(
        [sys.executable, "-c", WITHOUT, without, str(EXAMPLES / example), *arguments],
        capture_output=True,
        text=True,
        check=False,
    )
    assert ended.returncode != 0
    return ended.stderr


@pytest.mark.parametrize(
    "example, module, extra",
    [
        ("agent_loop.py", "numpy", "local"),
        ("gemini_bot.py", "websockets", "gemini"),
        ("make_question.py", "numpy", "local"),
        ("offline_bot.py", "rich", "local"),
        ("openai_bot.py", "websockets", "openai"),
        ("phone_bot.py", "websockets", "openai"),
        ("show_journal.py", "rich", "examples"),
        ("trio_bot.py", "trio", "local,trio"),
        ("worker.py", "websockets", "openai,postgres"),
    ],
)
def test_an_example_says_which_extra_it_needs(example: str, module: str, extra: str) -> None:
    name = example.removesuffix(".py")

    said = told(example, without=module)

    assert said.startswith(f"{name}: {module}")
    assert said.endswith(f" is missing: pip install -e '.[{extra}]'\n")


@pytest.mark.parametrize(
    "example",
    [
        "agent_loop.py",
        "call_exchange.py",
        "gemini_bot.py",
        "offline_bot.py",
        "openai_bot.py",
        "phone_bot.py",
        "worker.py",
    ],
)
def test_an_example_that_is_asked_for_trio_says_how_to_have_it(example: str) -> None:
    needed = ["--journal", "postgresql://127.0.0.1/calls"] if example == "worker.py" else []

    said = told(example, "--backend", "trio", *needed, without="trio")

    assert said.endswith(": error: --backend trio: it is missing: pip install -e '.[trio]'\n")
