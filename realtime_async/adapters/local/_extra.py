"""What the extra `local` brings, imported when it is first needed."""

from __future__ import annotations

import sys
from importlib import import_module
from typing import Any

from realtime_async._extras import lacking

__all__ = ["import_extra"]


def import_extra(module: str) -> Any:
    """
    Import *module*, a dependency of the extra `local` that ships no types.

    Raises:
        ImportError: It is missing; the message says what to install.
    """
    try:
        return import_module(module)
    except ImportError as error:
        raise _what_to_do(module) from error


def _what_to_do(module: str) -> ModuleNotFoundError:
    if module == "pocketsphinx" and sys.version_info >= (3, 14):
        return ModuleNotFoundError(
            "the local speech adapter needs pocketsphinx, which has no wheel for Python 3.14 yet: "
            "run it on Python 3.11 to 3.13, or install pocketsphinx from source (it needs a C compiler and CMake)",
            name=module,
        )
    return lacking(module, by="the local speech adapter", extra="local")


# Nothing here works without it, so its absence is told before anything else is imported.
import_extra("numpy")
