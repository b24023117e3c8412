"""When a session gives up: how often and for how long it calls back, and what it hands back at its end."""

from __future__ import annotations

from functools import partial

import anyio
import pytest

from realtime_async import RealtimeSession, RestartPolicy, open_session
from realtime_async.adapters.scripted import Delay, Drop, Hang, Played, Refuse
from realtime_async.errors import (
    JournalFailure,
    ProviderFailure,
    RestartExhausted,
    RetryClassification,
    SessionStateError,
)
from realtime_async.journals import MemoryJournal
from realtime_async.ports import (
    RealtimeCloseReason,
    RealtimeOutputFrame,
    RealtimeRestartReason,
    ResponseDone,
    ResponseStarted,
)
from realtime_async.testing.journals import FaultyJournal, JournalFault
from tests.controller.begun import begin
from tests.controller.staged import SECRET, plain_sidecar, text
from tests.test_session import Call, next_frames
from tests.test_session_frames import heard, spoken
from tests.test_session_supervised import EVEN, listen_to, reports_in, said, until_restarted

pytestmark = pytest.mark.virtual_time

Reason = RealtimeRestartReason


async def exhausted(session: RealtimeSession) -> RestartExhausted:
    """Listen until there is no hope."""
    with pytest.raises(RestartExhausted) as caught:
        async for _ in session.frames():
            pass
    return caught.value


async def test_a_provider_that_accepts_and_hangs_up_makes_no_storm() -> None:
    call = Call(*[Drop()] * 1000)

    async with call.open(restart_policy=EVEN) as session:
        await exhausted(session)
        at = anyio.current_time()

    assert call.adapter.calls.count("restart") == 3
    assert at == pytest.approx(1 + 2, abs=0.2)
    assert await call.ending() == ("closed", RealtimeCloseReason.PROVIDER_FAILURE)


async def test_what_the_provider_says_gives_the_attempts_back() -> None:
    call = Call(*[item for frame in spoken(20) for item in (frame, Delay(0.5), Drop())], *[Drop()] * 9)
    frames: list[RealtimeOutputFrame] = []

    async with call.open(restart_policy=RestartPolicy(attempts=2)) as session:
        with pytest.raises(RestartExhausted):
            await listen_to(session, frames)

    assert [name for name in heard(frames) if name != "restarted"] == [f"said.{n}" for n in range(1, 21)]


ANSWERED: list[RealtimeOutputFrame] = [*said(ResponseStarted()), *spoken(1), *said(ResponseDone("completed"))]
HANGS_UP = [
    pytest.param(spoken(1), 0.0, range(8, 20), id="some audio, and nothing else"),
    pytest.param([*said(ResponseStarted()), *spoken(1), *said(ResponseDone("incomplete"))], 0.2, range(8, 20), id="cut off"),
    pytest.param(spoken(1), 15.0, range(8, 9), id="some audio after a while"),
    pytest.param(ANSWERED, 15.0, range(8, 9), id="an answer now and then"),
]  # fmt: skip


@pytest.mark.parametrize("says, after_s, dials", HANGS_UP)
async def test_a_provider_that_says_a_little_and_hangs_up_makes_no_storm(
    says: list[RealtimeOutputFrame], after_s: float, dials: range
) -> None:
    """Two minutes of it: it is called back ever more rarely, and the call lives."""
    again: list[Played] = [Delay(after_s), *says, Drop()]
    call = Call(*again * 1000)

    async with call.open() as session, anyio.create_task_group() as tasks:
        tasks.start_soon(listen_to, session, [])
        await anyio.sleep(125)
        dialled = call.adapter.calls.count("restart")
        tasks.cancel_scope.cancel()

    assert dialled in dials


@pytest.mark.parametrize(
    "again, age_s", [([Delay(0.5), *ANSWERED, Drop()], None), ([], 60.0)], ids=["lost", "aged"]
)
async def test_neither_an_answer_nor_a_plan_prolongs_the_life_of_a_session(
    again: list[Played], age_s: float | None
) -> None:
    call = Call(*again * 20)
    policy = RestartPolicy(attempts=2, lifetime_attempts=5, max_connection_age_s=age_s)

    async with call.open(restart_policy=policy) as session:
        with anyio.fail_after(600):
            error = await exhausted(session)

    assert call.adapter.calls.count("restart") == 5
    assert str(error.__cause__).count("the policy allows no more") == 1
    assert await call.ending() == ("closed", RealtimeCloseReason.PROVIDER_FAILURE)


async def test_a_connection_that_dies_after_an_answer_is_replaced_at_once() -> None:
    again: list[Played] = [Delay(0.5), *ANSWERED, Drop()]
    call = Call(*again * 20)

    async with call.open() as session:
        for _ in range(20):
            report = await until_restarted(session)
            assert report.outage_s == pytest.approx(0, abs=0.01)


async def test_a_session_without_hope_hands_back_what_it_could_not_send() -> None:
    call = Call(Delay(1), Drop(), faults={("restart", number): Refuse() for number in range(1, 9)})
    frames = [text(number) for number in range(1, 4)]

    async with call.open(restart_policy=EVEN) as session, anyio.create_task_group() as tasks:
        loop = await begin(tasks, partial(exhausted, session))
        await anyio.sleep(2)
        for frame in frames:
            await session.send(frame)
        await loop.over()
        with pytest.raises(RestartExhausted):
            await session.send(text())
        with pytest.raises(RestartExhausted):
            await session.restart()

    assert isinstance(loop.result, RestartExhausted)
    assert list(loop.result.frames) == frames
    assert SECRET not in str(loop.result) + repr(loop.result)
    records = await call.records()
    dropped = [record.frame_id for record in records if record.kind == "input_dropped"]
    assert dropped == [frame.frame_id for frame in frames]
    assert session.delivery.dropped == 3
    assert await call.ending() == ("closed", RealtimeCloseReason.PROVIDER_FAILURE)


async def test_what_trying_again_cannot_help_is_tried_once() -> None:
    fault = Refuse("invalid_api_key", RetryClassification.NOT_RETRYABLE)
    call = Call(Drop(), faults={("restart", number): fault for number in range(1, 9)})

    async with call.open() as session:
        await exhausted(session)

    assert call.adapter.calls.count("restart") == 1


async def test_an_adapter_that_cannot_be_stopped_ends_the_session() -> None:
    call = Call(Drop(), faults={("restart", number): Hang() for number in range(1, 3)})

    async with call.open(restart_policy=RestartPolicy(attempts=2)) as session:
        await exhausted(session)

    assert await call.ending() == ("closed", RealtimeCloseReason.PROVIDER_FAILURE)


async def test_what_the_provider_said_before_the_end_is_heard_first() -> None:
    call = Call(*spoken(3), Drop(), *[Drop()] * 9)
    frames: list[RealtimeOutputFrame] = []

    async with call.open(restart_policy=RestartPolicy(attempts=1)) as session:
        await anyio.sleep(60)
        with pytest.raises(RestartExhausted):
            await listen_to(session, frames)

    # The answer was cut off by the first restart, and is fenced.
    assert heard(frames) == ["restarted"]
    assert reports_in(frames)[0].fenced == 3


async def test_a_journal_that_fails_ends_the_loop() -> None:
    call = Call(Delay(1), *spoken(1))
    journal = FaultyJournal(MemoryJournal(), fail_at=4, how=JournalFault.REFUSE)
    session_of = partial(open_session, plain_sidecar(), call.adapter, journal, run_id="run-1")

    with pytest.raises(JournalFailure):
        async with session_of() as session:
            await next_frames(session, 3)


async def test_a_restart_that_a_failing_journal_overtakes_raises_that_failure() -> None:
    call = Call()
    journal = FaultyJournal(MemoryJournal(), fail_at=4, how=JournalFault.REFUSE)
    session_of = partial(open_session, plain_sidecar(), call.adapter, journal, run_id="run-1")

    async def restart_as_a_frame_comes() -> None:
        async with session_of() as session:
            await call.adapter.until_called("receive")
            # Its record cannot be written, which may be found out before the restart begins.
            call.adapter.feed(*spoken(1))
            with pytest.raises(JournalFailure):
                await session.restart()

    with pytest.raises(JournalFailure):
        await restart_as_a_frame_comes()


async def test_a_refusal_among_the_frames_is_raised_in_its_place_and_ends_nothing() -> None:
    call = Call(*spoken(1), Refuse("content_filter"), *spoken(2)[1:])

    async with call.open() as session:
        before = await next_frames(session, 1)
        with pytest.raises(ProviderFailure):
            await next_frames(session, 1)
        after = await next_frames(session, 1)

    assert heard(before + after) == ["said.1", "said.2"]


async def test_a_restart_that_a_close_overtakes_ends_with_the_session() -> None:
    call = Call(faults={("restart", 1): Hang()})

    async with call.open() as session, anyio.create_task_group() as tasks:
        asked = await begin(tasks, session.restart)
        await session.close()
        await asked.over()

    assert asked.error is not None
    assert await call.ending() == ("closed", RealtimeCloseReason.NORMAL)


async def test_a_closed_session_cannot_be_restarted() -> None:
    call = Call()

    async with call.open() as session:
        await session.close()
        with pytest.raises(SessionStateError):
            await session.restart()
