"""Interrupting: the provider is told at once, and what it still says of that answer is not heard."""

from __future__ import annotations

from collections.abc import Sequence
from functools import partial

import anyio
import pytest

from realtime_async.adapters.scripted import (
    Delay,
    Drop,
    Hang,
    OnInterrupt,
    Refuse,
    Script,
    ScriptedAdapter,
)
from realtime_async.controller import Deadlines
from realtime_async.errors import DeadlineExceeded, ProviderFailure
from realtime_async.ports import (
    InputTranscript,
    OutputText,
    OutputTranscript,
    RealtimeOutputFrame,
    ResponseDone,
    ResponseStarted,
    SpeechStopped,
    ToolCall,
)
from tests.controller.begun import begin, settled
from tests.controller.staged import FRAME, SECRET, Stage, StagedSession, text

pytestmark = pytest.mark.virtual_time

of = RealtimeOutputFrame.of


def answer(response_id: str | None, pieces: int = 2) -> list[RealtimeOutputFrame]:
    """An answer from its beginning to its end."""
    return [
        of(ResponseStarted(), response_id=response_id),
        *[RealtimeOutputFrame.audio(FRAME, response_id=response_id) for _ in range(pieces)],
        of(OutputTranscript(SECRET, final=True), response_id=response_id),
        of(OutputText(SECRET), response_id=response_id),
        of(ResponseDone("cancelled"), response_id=response_id),
    ]


async def heard(staged: StagedSession, frames: int) -> list[str]:
    """The events of the next frames."""
    received = [await staged.controller.receive() for _ in range(frames)]
    return [type(each.frame.event).__name__ for each in received if each is not None]


async def playing(stage: Stage, frames: Sequence[RealtimeOutputFrame], **script: object) -> StagedSession:
    """A session whose provider has said the first two of *frames*."""
    adapter = ScriptedAdapter(Script(frames, **script))  # type: ignore[arg-type]  # fields of a script
    staged = await stage.connected(adapter)
    await heard(staged, 2)
    return staged


@pytest.mark.parametrize("response_id", ["answer-1", None], ids=["with ids", "without ids"])
@pytest.mark.parametrize("named", [True, False], ids=["named", "the current one"])
async def test_an_interrupted_answer_is_not_heard_until_it_is_done(
    stage: Stage, response_id: str | None, named: bool
) -> None:
    staged = await playing(stage, [*answer(response_id), *answer("answer-2")])

    await staged.controller.interrupt("answer-1" if named else None)

    assert await heard(staged, 3) == ["ResponseDone", "ResponseStarted", "OutputAudio"]


async def test_what_was_kept_back_is_counted_in_one_record(stage: Stage) -> None:
    staged = await playing(stage, answer("answer-1", pieces=4))
    await staged.controller.interrupt()
    before = len(await staged.records())

    await heard(staged, 1)

    records = [each.payload for each in (await staged.records())[before:]]
    discarded = [each for each in records if each.kind == "output_discarded"]
    assert len(discarded) == 1
    assert discarded[0].extent is not None
    assert discarded[0].extent.frames == 5
    assert [str(each.kind) for each in records][-1] == "output_received"


async def test_what_was_kept_back_is_counted_at_close_at_the_latest(stage: Stage) -> None:
    staged = await playing(stage, answer("answer-1", pieces=4)[:-1])
    await staged.controller.interrupt()
    async with anyio.create_task_group() as tasks:
        await begin(tasks, staged.controller.receive)

        await staged.controller.close()

    discarded = [
        each.payload.extent for each in await staged.records() if each.payload.kind == "output_discarded"
    ]
    assert [extent.frames for extent in discarded if extent is not None] == [5]


async def test_only_what_is_heard_or_read_is_kept_back(stage: Stage) -> None:
    frames = [
        of(ResponseStarted(), response_id="answer-1"),
        RealtimeOutputFrame.audio(FRAME, response_id="answer-1"),
        of(ToolCall("call-1", "paint", SECRET), response_id="answer-1"),
        of(InputTranscript(SECRET)),
        of(SpeechStopped(100)),
        RealtimeOutputFrame.audio(FRAME, response_id="answer-1"),
        of(ResponseDone(), response_id="answer-1"),
    ]
    staged = await playing(stage, frames)

    await staged.controller.interrupt("answer-1")

    assert await heard(staged, 4) == ["ToolCall", "InputTranscript", "SpeechStopped", "ResponseDone"]


async def test_another_answer_than_the_one_named_is_heard(stage: Stage) -> None:
    staged = await playing(stage, answer("answer-1"))

    await staged.controller.interrupt("answer-7")

    assert await heard(staged, 4) == ["OutputAudio", "OutputTranscript", "OutputText", "ResponseDone"]


async def test_an_interrupt_that_the_provider_refused_lets_the_answer_be_heard(stage: Stage) -> None:
    staged = await playing(stage, answer("answer-1"), faults={("interrupt", 1): Refuse()})

    with pytest.raises(ProviderFailure):
        await staged.controller.interrupt()

    assert await heard(staged, 4) == ["OutputAudio", "OutputTranscript", "OutputText", "ResponseDone"]


@pytest.mark.parametrize("response_id", ["answer-1", None], ids=["with ids", "without ids"])
@pytest.mark.parametrize("second_takes_s", [0, 2], ids=["was told", "is being told"])
async def test_an_interrupt_that_is_refused_lifts_no_other_of_that_answer(
    stage: Stage, response_id: str | None, second_takes_s: float
) -> None:
    staged = await playing(stage, answer(response_id))
    staged.provider.inject("interrupt", Delay(1), Refuse())
    async with anyio.create_task_group() as tasks:
        first = await begin(tasks, staged.controller.interrupt)
        staged.provider.inject("interrupt", Delay(second_takes_s))
        second = await begin(tasks, staged.controller.interrupt)
        await anyio.sleep(1.5)
        assert isinstance(first.error, ProviderFailure)

        assert await heard(staged, 1) == ["ResponseDone"]

    assert second.error is None


async def test_an_answer_is_kept_back_while_the_provider_is_being_told(stage: Stage) -> None:
    staged = await playing(stage, answer("answer-1"), faults={("interrupt", 1): Delay(1)})
    async with anyio.create_task_group() as tasks:
        interrupting = await begin(tasks, staged.controller.interrupt)

        assert await heard(staged, 1) == ["ResponseDone"]
        assert not interrupting.is_over


async def test_a_provider_that_stops_at_once_is_heard_to_be_done(stage: Stage) -> None:
    staged = await playing(stage, answer("answer-1"), on_interrupt=OnInterrupt.STOP)

    await staged.controller.interrupt(played_ms=20)

    assert await heard(staged, 1) == ["ResponseDone"]
    told = [entry for entry in staged.provider.log if getattr(entry, "played_ms", None) is not None]
    assert [getattr(entry, "played_ms", None) for entry in told] == [20]


async def test_an_interrupt_while_a_send_and_a_receive_run_waits_for_neither(stage: Stage) -> None:
    staged = await stage.connected(ScriptedAdapter(Script(faults={("send", 1): Delay(3)})))
    async with anyio.create_task_group() as tasks:
        receiving = await begin(tasks, staged.controller.receive)
        sending = await begin(tasks, partial(staged.controller.send, text()))
        behind = await begin(tasks, partial(staged.controller.send, text()))
        began = anyio.current_time()

        await staged.controller.interrupt()

        assert anyio.current_time() == began
        assert [each.is_over for each in (receiving, sending, behind)] == [False, False, False]
        assert staged.adapter.operations == ["connect", "receive", "send", "interrupt"]
        await anyio.sleep(4)
        receiving.scope.cancel()

    assert sending.error is behind.error is None
    assert len(staged.provider.sent) == 2


async def test_an_answer_fenced_while_the_connection_was_lost_is_not_heard_after_it(stage: Stage) -> None:
    frames = answer("answer-1")
    adapter = ScriptedAdapter(Script([*frames[:2], Drop(), *frames[2:]]))
    staged = await stage.connected(adapter)
    await heard(staged, 2)
    with pytest.raises(ProviderFailure):
        await staged.controller.receive()

    await staged.controller.interrupt("answer-1")
    await staged.controller.restart()

    assert await heard(staged, 1) == ["ResponseDone"]
    assert "interrupt" not in staged.adapter.operations


async def test_an_interrupt_out_of_time_fails_and_the_session_goes_on(stage: Stage) -> None:
    staged = await stage.connected(
        ScriptedAdapter(Script(faults={("interrupt", 1): Hang()})), deadlines=Deadlines(interrupt=2)
    )
    began = anyio.current_time()

    with pytest.raises(DeadlineExceeded):
        await staged.controller.interrupt()

    assert anyio.current_time() - began == pytest.approx(2)
    assert (await staged.kinds())[-1] == "interrupt_failed"
    assert (await staged.controller.send(text())).kind == "input_sent"


async def test_two_interrupts_at_once_are_both_told(stage: Stage) -> None:
    staged = await stage.connected(ScriptedAdapter(Script(faults={("interrupt", 1): Delay(1)})))
    async with anyio.create_task_group() as tasks:
        first = await begin(tasks, partial(staged.controller.interrupt, "answer-1"))
        second = await begin(tasks, partial(staged.controller.interrupt, "answer-2"))
        await anyio.sleep(2)
        await settled()

    assert first.error is second.error is None
    assert staged.adapter.operations == ["connect", "interrupt", "interrupt"]
