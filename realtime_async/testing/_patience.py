"""How long a contract waits for what it tests, and what it says when that never comes."""

from __future__ import annotations

import asyncio
import functools
import linecache
import math
import signal
import sys
import threading
import time
import traceback
from collections.abc import Awaitable, Callable, Iterator
from contextlib import contextmanager
from types import FrameType
from typing import Any, Final, TypeVar

import anyio

__all__ = ["patient", "patiently"]

_Contract = TypeVar("_Contract", bound=type)

PACKAGE: Final = "realtime_async.testing"
# What may still take its time once it was cancelled, as a journal that writes out what it has; after that nothing will end.
GRACE_S = 15.0


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
        TimeoutError: They were too few; it names the line of the contract that was waiting,
            or is raised where the event loop is blocked, `GRACE_S` later.
        AssertionError: What it waited for was cancelled, though nobody cancelled the wait.
    """
    waited_at = ""
    with _interrupted_after(seconds + GRACE_S, promise), anyio.move_on_after(seconds) as scope:
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


@contextmanager
def _interrupted_after(seconds: float, promise: str) -> Iterator[None]:
    """Interrupt whoever blocks the event loop, or can't be cancelled, as it would hang all tests."""
    # Only the first thread is told of an alarm.
    is_told = sys.platform != "win32" and threading.current_thread() is threading.main_thread()
    # A timeout of pytest's has the same clock.
    set_before_s, every_s = signal.getitimer(signal.ITIMER_REAL) if is_told else (0.0, 0.0)
    if not is_told or not math.isfinite(seconds) or 0 < set_before_s <= seconds:
        yield
        return

    def interrupt(_number: int, _frame: FrameType | None) -> None:
        raise TimeoutError(
            f"{promise!r} has not come true within {seconds:g} s, and could not be cancelled: the event loop is blocked "
            "where this is raised, or what it waits for shields itself; let nothing wait but what is awaited"
        )

    began = time.monotonic()
    handler_before = signal.signal(signal.SIGALRM, interrupt)
    # Again and again, as who is closed on the way out may block, too.
    signal.setitimer(signal.ITIMER_REAL, seconds, GRACE_S)
    try:
        yield
    finally:
        signal.setitimer(signal.ITIMER_REAL, 0.0)
        signal.signal(signal.SIGALRM, handler_before)
        if set_before_s:
            rest_s = set_before_s - (time.monotonic() - began)
            signal.setitimer(signal.ITIMER_REAL, max(rest_s, 0.001), every_s)


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
