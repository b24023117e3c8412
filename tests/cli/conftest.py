"""What of the command is tested where."""

from __future__ import annotations

import sys
from importlib.util import find_spec

# The recogniser has no wheel for Python 3.14 yet.
if sys.version_info >= (3, 14) and find_spec("pocketsphinx") is None:
    collect_ignore = ["test_demo.py"]
