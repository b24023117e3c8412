"""What of the command is tested where."""

from __future__ import annotations

import sys
from importlib.util import find_spec

import pytest

from tests.cli.asked import made

# The recogniser has no wheel for Python 3.14 yet.
if sys.version_info >= (3, 14) and find_spec("pocketsphinx") is None:
    collect_ignore = ["test_demo.py"]


@pytest.fixture(scope="module")
def url(tmp_path_factory: pytest.TempPathFactory) -> str:
    return made(tmp_path_factory.mktemp("journal") / "calls.db")
