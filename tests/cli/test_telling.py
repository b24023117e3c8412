"""A report in words: each number of a run in which much went wrong stands where it belongs."""

from __future__ import annotations

import pytest

from realtime_async import RealtimeOverflowPolicy
from realtime_async.adapters.scripted import Drop, FrameFate, Refuse, Script, ScriptedAdapter
from realtime_async.cli._telling import told
from realtime_async.errors import ProviderConnectionLost, ProviderFailure
from realtime_async.ports import RealtimeOutputFrame, RealtimeRestartReason, ResponseDone, ResponseStarted
from realtime_async.reports import report_of
from tests.controller.staged import FRAME, Stage, StagedSession, audio, plain_sidecar

__all__: list[str] = []

pytestmark = pytest.mark.virtual_time

SIDECAR = plain_sidecar(queue_capacity=2, overflow_policy=RealtimeOverflowPolicy.DROP_NONCRITICAL)


async def answered(staged: StagedSession, pieces: int) -> None:
    staged.provider.feed(RealtimeOutputFrame.of(ResponseStarted(), response_id="answer"))
    await staged.controller.receive()
    for _ in range(pieces):
        staged.provider.feed(RealtimeOutputFrame.audio(FRAME, response_id="answer"))


async def test_what_was_lost_interrupted_and_taken_up_is_told() -> None:
    stage = Stage()
    faults = {("restart", 1): Refuse(), ("interrupt", 2): Refuse()}
    before = await stage.connected(ScriptedAdapter(Script(faults=faults)), sidecar=SIDECAR)
    before.provider.inject("send", Refuse())
    with pytest.raises(ProviderFailure):
        await before.controller.send(audio())
    await answered(before, 4)
    await before.controller.interrupt()
    before.provider.feed(RealtimeOutputFrame.of(ResponseDone("cancelled"), response_id="answer"))
    await before.controller.receive()
    with pytest.raises(ProviderFailure):
        await before.controller.interrupt()
    before.provider.inject("send", Drop(FrameFate.VANISHED))
    with pytest.raises(ProviderConnectionLost):
        await before.controller.send(audio())
    await before.controller.interrupt()
    for _ in range(5):
        await before.controller.send(audio())
    await before.controller.restart(RealtimeRestartReason.CONNECTION_LOST)
    after = await stage.resumed(before, ScriptedAdapter(), sidecar=SIDECAR)
    await stage.strike()

    lines = {line[:18].strip(): line[18:] for line in told(report_of(await after.records()))}

    assert lines["frames"] == "7 accepted: 2 sent, 1 failed, 3 dropped, 1 in doubt, 0 queued"
    assert lines["never heard"] == "4: 1 failed, 3 dropped"
    assert lines["perhaps unheard"] == "1 frame (1), of 1 frame (1) in doubt"
    assert lines["heard late"].startswith("2 frames (2-3), ")
    assert lines["heard twice"] == "0"
    assert lines["interruptions"] == "2, 1 refused, 1 without a connection; 4 frames of answers discarded"
    assert lines["restarts"] == "1"
    assert ", 2 attempts (provider_failure); 2 frames late, 0 twice, 3 dropped" in lines[""]
    assert "after " in lines["resumed"]
