"""What a frame leaves behind goes at once: the collector, when it has to look for it, stops every call of the process."""

from __future__ import annotations

import gc
from collections.abc import Awaitable, Callable, Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest

from realtime_async import MediaSpan, RealtimeSessionController
from realtime_async.adapters.scripted import NowaitScriptedAdapter, Script, ScriptedAdapter
from realtime_async.journals import SqliteJournal
from realtime_async.ports import RealtimeOutputFrame
from tests.controller.staged import FRAME, audio, plain_sidecar

FRAMES = 20


async def send_all(controller: RealtimeSessionController) -> None:
    for _ in range(FRAMES):
        await controller.send(audio())


async def receive_all(controller: RealtimeSessionController) -> None:
    for _ in range(FRAMES):
        await controller.receive()


@contextmanager
def only_the_collector_frees() -> Iterator[list[object]]:
    """What of ours it finds that nothing refers to any more but itself."""
    found: list[object] = []
    gc.collect()
    # What earlier tests have left may be let go of meanwhile, and is not what is looked for.
    gc.freeze()
    gc.disable()
    gc.set_debug(gc.DEBUG_SAVEALL)
    try:
        yield found
        gc.collect()
        found += [each for each in gc.garbage if type(each).__module__.startswith("realtime_async")]
    finally:
        gc.set_debug(0)
        gc.garbage.clear()
        gc.enable()


@pytest.mark.parametrize("span", [None, MediaSpan(FRAMES, 60.0)], ids=["alone", "spanned"])
@pytest.mark.parametrize("do_all", [send_all, receive_all])
@pytest.mark.parametrize("adapter", [ScriptedAdapter, NowaitScriptedAdapter])
async def test_frames_that_wait_for_the_journal_leave_no_cycles(
    tmp_path: Path,
    adapter: type[ScriptedAdapter],
    do_all: Callable[[RealtimeSessionController], Awaitable[None]],
    span: MediaSpan | None,
) -> None:
    provider = adapter(Script([RealtimeOutputFrame.audio(FRAME) for _ in range(FRAMES)]))
    async with (
        SqliteJournal.open(tmp_path / "calls.db") as journal,
        RealtimeSessionController(plain_sidecar(span=span), provider, journal, run_id="call-1") as controller,
    ):
        await controller.connect()
        with only_the_collector_frees() as found:
            await do_all(controller)

    assert not found
