"""What a session must still be able to do after something went wrong: everything, or end."""

from __future__ import annotations

from contextlib import suppress

from realtime_async.errors import AgentError, SessionStateError
from realtime_async.ports import RealtimeOutputFrame, SpeechStarted
from tests.controller.staged import StagedSession, audio, text

__all__ = ["carry_on", "connection_back"]


async def connection_back(staged: StagedSession) -> None:
    """Bring the session to a connection that takes frames, from wherever it stands."""
    controller = staged.controller
    with suppress(SessionStateError):
        await controller.connect()
    if (await controller.send(text())).kind != "backpressure_applied":
        return
    try:
        await controller.complete_restart()
    except SessionStateError:
        await controller.restart()


async def carry_on(staged: StagedSession) -> None:
    """Send, receive, interrupt, restart and close, with the oracle watching."""
    controller = staged.controller
    await staged.check()
    await connection_back(staged)
    for frame in (text(), audio()):
        record = await controller.send(frame)
        assert record.kind in {"input_sent", "input_send_requested"}
        assert staged.provider.sent[-1].frame_id == frame.frame_id
    staged.provider.feed(RealtimeOutputFrame.of(SpeechStarted(), frame_id="afterwards"))
    while (received := await controller.receive()) is not None:
        if received.frame.frame_id == "afterwards":
            break
    await controller.interrupt()
    await staged.check_fold()
    await controller.restart()
    await controller.send(text())
    with suppress(AgentError):
        await controller.close()
    await staged.check()
    assert (await staged.kinds())[-1] in {"closed", "close_failed"}
    assert controller.delivery.queued == 0
