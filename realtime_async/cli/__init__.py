"""
The command `realtime-async`, which needs the extra cli.

What it prints of a journal is never content: there is none in it.
"""

from __future__ import annotations

import os
import sys
from io import TextIOWrapper
from typing import TextIO

__all__ = ["main"]


def main() -> None:
    """Run the command that the program's arguments ask for."""
    # A program may be started without them, as by `>&-`, and then nobody reads it.
    sys.stdout, sys.stderr = sys.stdout or _nowhere(), sys.stderr or _nowhere()
    if isinstance(sys.stdout, TextIOWrapper):
        # What a file is called, or what is said, may have letters that the output hasn't.
        sys.stdout.reconfigure(errors="backslashreplace")
    try:
        from realtime_async.cli._app import app  # noqa: PLC0415 - what it needs may not be installed
    except ImportError as error:
        print(
            f"realtime-async: the command needs {error.name}: pip install 'realtime-async[cli]'",
            file=sys.stderr,
        )
        sys.exit(2)
    app(prog_name="realtime-async")


def _nowhere() -> TextIO:
    return os.fdopen(os.open(os.devnull, os.O_WRONLY), "w")
