"""
The command `realtime-async`, which needs the extra cli.

What it prints of a journal is never content: there is none in it.
"""

from __future__ import annotations

import sys

__all__ = ["main"]


def main() -> None:
    """Run the command that the program's arguments ask for."""
    try:
        from realtime_async.cli._app import app  # noqa: PLC0415 - what it needs may not be installed
    except ImportError as error:
        print(
            f"realtime-async: the command needs {error.name}: pip install 'realtime-async[cli]'",
            file=sys.stderr,
        )
        sys.exit(2)
    app(prog_name="realtime-async")
