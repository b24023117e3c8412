"""How long a contract waits for what it tests, and what it says when that never comes."""

from __future__ import annotations

import asyncio
import functools
import linecache
import traceback
from collections.abc import Awaitable, Callable, Iterator
from contextlib import contextmanager
from typing import Any, Final, TypeVar

import anyio

__all__ = ["patient", "patiently"]

_Contract = TypeVar("_Contract", bound=type)

PACKAGE: Final = "realtime_async.testing"


def patiently(contract: _Contract) -> _Contract:
    """Give each test of *contract* at most its `patience_s`, as whoever inherits it has it."""
    for name, test in list(vars(contract).items()):
        if name.startswith("test_"):
            setattr(contract, name, _bounded(test, name.removeprefix("test_").replace("_", " ")))
    return contract


def _bounded(test: Callable[..., Awaitable[None]], promise: str) -> Callable[..., Awaitable[None]]:
    @functools.wraps(test)
    async def bounded(self: Any, **arguments: object) -> None:
        with patient(self.patience_s, promise, type(self).__name__):
            await test(self, **arguments)

    return bounded


@contextmanager
def patient(seconds: float, promise: str, owner: str) -> Iterator[None]:
    """
    Wait for so many seconds.

    Args:
        promise: What is to come true.
        owner: The class that can be given more of them, by its `patience_s`.

    Raises:
        TimeoutError: They were too few; it names the line of the contract that was waiting.
        AssertionError: What it waited for was cancelled, though nobody cancelled the wait.
    """
    waited_at = ""
    with anyio.move_on_after(seconds) as scope:
        try:
            yield
        except BaseException as ended:
            if scope.cancel_called:
                waited_at = _line_of(ended)
            elif _is_cancelled_with_another(ended):
                raise AssertionError(
                    f"{promise!r} does not hold: what was awaited at `{_line_of(ended)}` had been cancelled itself, "
                    "as a bare future is by cancelling one who awaits it; let each await wait by itself"
                ) from ended
            raise
    if scope.cancelled_caught:
        raise TimeoutError(
            f"{promise!r} has not come true within {seconds:g} s: it waited at `{waited_at}`; "
            f"mend what does not return there, or give {owner} a longer patience_s"
        )


def _is_cancelled_with_another(ended: BaseException) -> bool:
    """Whether *ended* says so of what was awaited, and not of whoever awaited it.  On Trio nothing else can be cancelled."""
    if not isinstance(ended, asyncio.CancelledError):
        return False
    task = asyncio.current_task()
    return task is not None and not task.cancelling()


def _line_of(ended: BaseException) -> str:
    """Where, in a contract, what *ended* by being cancelled was waiting."""
    lines = [
        linecache.getline(frame.f_code.co_filename, number).strip()
        for frame, number in traceback.walk_tb(ended.__traceback__)
        if frame.f_globals.get("__name__", "").endswith("_contract")
        and frame.f_globals.get("__package__") == PACKAGE
    ]
    return lines[-1] if lines else ""
