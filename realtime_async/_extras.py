"""Who lacks what an extra brings is told which one to install."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager

__all__ = ["lacking", "needs"]


@contextmanager
def needs(module: str, *, by: str, extra: str) -> Iterator[None]:
    """
    Import in this block what needs *module*, which *extra* brings.

    Args:
        by: Who needs it, as it begins the sentence.

    Raises:
        ModuleNotFoundError: *module* is missing; the message says what to install.
    """
    try:
        yield
    except ModuleNotFoundError as missing:
        # What else cannot be found is no matter of this extra.
        if (missing.name or "").partition(".")[0] != module:
            raise
        raise lacking(module, by=by, extra=extra) from missing


def lacking(module: str, *, by: str, extra: str) -> ModuleNotFoundError:
    """What to raise where *module* is missing."""
    return ModuleNotFoundError(f"{by} needs {module}: pip install 'realtime-async[{extra}]'", name=module)
