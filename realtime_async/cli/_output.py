"""
Where what is printed goes, which may be a reader who has gone, or a disk that is full.

Neither changes what was found: the exit code says that also to whoever reads nothing.
"""

from __future__ import annotations

import os
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import TextIO

__all__ = ["flush", "leave", "output", "perhaps_unread"]


@contextmanager
def output() -> Iterator[TextIO]:
    """
    Write to the standard output.

    Raises:
        BrokenPipeError: Nobody reads it any more.
        OSError: It cannot be written, and is named.
    """
    try:
        yield sys.stdout
    except BrokenPipeError:
        raise
    except OSError as error:
        raise OSError(f"the output cannot be written: {error.strerror}; look at where it goes") from error


def flush() -> None:
    with output() as stream:
        stream.flush()


@contextmanager
def perhaps_unread() -> Iterator[None]:
    """Print what was found: a reader who has had enough ends the printing alone, and what follows is done."""
    try:
        yield
    except BrokenPipeError:
        return


def leave(stream: TextIO) -> None:
    """Have done with *stream*: at its end the interpreter would flush once more, complain, and choose the exit code."""
    try:
        stream.flush()
    except OSError:
        with Path(os.devnull).open("wb") as nowhere:
            os.dup2(nowhere.fileno(), stream.fileno())
