"""What the report of a restart tells: how long it took, and what became of the frames."""

from __future__ import annotations

import anyio
import pytest

from realtime_async._core.restarts import RestartPolicy
from realtime_async._core.sidecar import RealtimeOverflowPolicy
from realtime_async.adapters.scripted import Delay, Drop, FrameFate, Hang, Refuse, Script, ScriptedAdapter
from realtime_async.errors import ProviderConnectionLost, RestartExhausted
from realtime_async.ports import RealtimeOutputFrame, RealtimeRestartReason, SpeechStarted, StreamCursor
from tests.controller.begun import begin
from tests.controller.staged import Stage, audio, plain_sidecar, text

pytestmark = pytest.mark.virtual_time

Reason = RealtimeRestartReason


async def test_a_report_tells_what_was_gated_and_what_was_dropped(stage: Stage) -> None:
    staged = await stage.connected(
        sidecar=plain_sidecar(queue_capacity=2, overflow_policy=RealtimeOverflowPolicy.DROP_NONCRITICAL)
    )
    for _ in range(3):
        await staged.controller.send(audio())
    staged.provider.inject("restart", Delay(1))
    async with anyio.create_task_group() as tasks:
        restart = await begin(tasks, staged.controller.restart)
        for _ in range(3):
            await staged.controller.send(audio())
        await anyio.sleep(2)

    report = restart.result
    assert [(each.first, each.last) for each in report.gated] == [(4, 5)]  # type: ignore[attr-defined]  # a RestartReport
    assert report.dropped == 1  # type: ignore[attr-defined]  # a RestartReport
    assert report.outage_s == pytest.approx(1, abs=0.3)  # type: ignore[attr-defined]  # a RestartReport


async def test_a_report_tells_what_was_replayed(stage: Stage) -> None:
    staged = await stage.connected(ScriptedAdapter(Script(kept_through=[StreamCursor.chunk(2)])))
    for _ in range(5):
        await staged.controller.send(audio())

    report = await staged.controller.restart()

    assert [(each.first, each.last) for each in report.replayed] == [(3, 5)]
    assert report.unconfirmed == ()
    assert staged.controller.delivery.replayed == 3


async def test_a_report_tells_what_is_unconfirmed_and_what_is_in_doubt(stage: Stage) -> None:
    """Without a tail nothing is replayed, so what the new connection has not shown to know stays open."""
    staged = await stage.connected(
        ScriptedAdapter(Script(kept_through=[StreamCursor.chunk(2)])), sidecar=plain_sidecar(replay_tail_s=0)
    )
    for _ in range(5):
        await staged.controller.send(audio())
    staged.provider.inject("send", Drop(FrameFate.VANISHED))
    with pytest.raises(ProviderConnectionLost):
        await staged.controller.send(audio())

    report = await staged.controller.restart(Reason.CONNECTION_LOST)

    assert [(each.first, each.last) for each in report.unconfirmed] == [(3, 5)]
    assert [(each.first, each.last) for each in report.in_doubt] == [(6, 6)]
    assert report.replayed == ()


async def test_an_outage_lasts_on_where_a_restart_has_failed(stage: Stage) -> None:
    """The gate has stayed closed: the report of the restart that succeeds tells what was dropped since."""
    staged = await stage.connected(
        sidecar=plain_sidecar(queue_capacity=1, overflow_policy=RealtimeOverflowPolicy.DROP_NONCRITICAL)
    )
    staged.provider.inject("restart", Refuse())
    with pytest.raises(RestartExhausted):
        await staged.controller.restart(policy=RestartPolicy(attempts=1))
    for _ in range(3):
        await staged.controller.send(audio())
    await anyio.sleep(4)

    report = await staged.controller.restart(Reason.AGE)

    assert report.reason is Reason.AGE
    assert report.outage_s == pytest.approx(4, abs=0.1)
    assert report.dropped == staged.controller.delivery.dropped == 2


async def test_what_is_left_behind_is_told_once(stage: Stage) -> None:
    """The second connection was never given the frames of the first, so its end takes nothing of them away."""
    staged = await stage.connected(
        ScriptedAdapter(Script(kept_through=[StreamCursor.chunk(0)])), sidecar=plain_sidecar(replay_tail_s=0)
    )
    told = []
    for _ in range(3):
        await staged.controller.send(audio())
        staged.provider.inject("send", Drop(FrameFate.VANISHED))
        with pytest.raises(ProviderConnectionLost):
            await staged.controller.send(audio())
        report = await staged.controller.restart(Reason.CONNECTION_LOST)
        told.append((report.unconfirmed, report.in_doubt))

    assert told == [(((1, 1),), ((2, 2),)), (((3, 3),), ((4, 4),)), (((5, 5),), ((6, 6),))]


async def test_what_was_replayed_and_is_lost_with_the_next_connection_is_told(stage: Stage) -> None:
    staged = await stage.connected(
        ScriptedAdapter(Script(kept_through=[StreamCursor.chunk(0)])), sidecar=plain_sidecar(replay_tail_s=2)
    )
    await staged.controller.send(text())
    first = await staged.controller.restart()
    await anyio.sleep(3)
    second = await staged.controller.restart()
    third = await staged.controller.restart()

    assert (first.replayed, first.unconfirmed) == (((1, 1),), ())
    assert (second.replayed, second.unconfirmed) == ((), ((1, 1),))
    assert third.unconfirmed == ()


async def test_a_report_tells_of_a_gated_frame_that_the_new_connection_left_in_doubt(stage: Stage) -> None:
    staged = await stage.connected()
    await staged.controller.begin_restart()
    staged.provider.inject("restart", Refuse())
    await staged.controller.complete_restart()
    for _ in range(3):
        await staged.controller.send(text())
    staged.provider.inject("send", Delay(0))
    staged.provider.inject("send", Hang())

    report = await staged.controller.restart()

    assert (report.gated, report.in_doubt) == (((1, 1), (3, 3)), ((2, 2),))
    assert staged.controller.delivery.in_doubt == 1


async def test_what_a_connection_that_died_of_the_drain_was_not_given_is_told(stage: Stage) -> None:
    """The one after it knows the third frame from it, and so no more of the first two than it did."""
    staged = await stage.connected(
        ScriptedAdapter(Script(kept_through=[StreamCursor.chunk(0), StreamCursor.chunk(3)])),
        sidecar=plain_sidecar(replay_tail_s=2),
    )
    await staged.controller.send(text())
    await staged.controller.send(text())
    await anyio.sleep(3)
    await staged.controller.send(text())
    await staged.controller.send(text())
    staged.provider.inject("send")
    staged.provider.inject("send", Drop(FrameFate.VANISHED))

    report = await staged.controller.restart(policy=RestartPolicy(first_wait_s=0))

    assert report.attempts == 2
    assert report.unconfirmed == ((1, 2),)


async def test_what_the_new_connection_shows_to_know_says_nothing_of_what_it_was_not_given(
    stage: Stage,
) -> None:
    staged = await stage.connected(
        ScriptedAdapter(Script(kept_through=[StreamCursor.chunk(0)])),
        sidecar=plain_sidecar(replay_tail_s=0.04),
    )
    for _ in range(4):
        await staged.controller.send(audio())
    staged.provider.inject("send")
    staged.provider.inject("send", Delay(2))
    async with anyio.create_task_group() as tasks:
        receiving = await begin(tasks, staged.controller.receive)
        restart = await begin(tasks, staged.controller.restart)
        await anyio.sleep(1)
        staged.provider.feed(RealtimeOutputFrame.of(SpeechStarted(60)))

    assert receiving.error is None
    assert staged.controller.delivery.confirmed_through == StreamCursor.chunk(3)
    assert (restart.result.replayed, restart.result.unconfirmed) == (((3, 4),), ((1, 2),))  # type: ignore[attr-defined]  # a RestartReport


async def test_what_the_old_connection_had_shown_to_know_is_not_told_though_it_is_heard_late(
    stage: Stage,
) -> None:
    staged = await stage.connected(
        ScriptedAdapter(Script(kept_through=[StreamCursor.chunk(0)])),
        sidecar=plain_sidecar(replay_tail_s=0.02),
    )
    for _ in range(4):
        await staged.controller.send(audio())
    staged.provider.inject("send", Delay(2))
    async with anyio.create_task_group() as tasks:
        restart = await begin(tasks, staged.controller.restart)
        await anyio.sleep(1)
        staged.provider.feed(RealtimeOutputFrame.of(SpeechStarted(40)))
        await staged.controller.receive()

    assert (restart.result.replayed, restart.result.unconfirmed) == (((4, 4),), ((3, 3),))  # type: ignore[attr-defined]  # a RestartReport


async def test_what_a_connection_refused_that_died_of_the_drain_is_told(stage: Stage) -> None:
    staged = await stage.connected(
        ScriptedAdapter(Script(kept_through=[StreamCursor.chunk(0), StreamCursor.chunk(2)]))
    )
    for _ in range(3):
        await staged.controller.send(text())
    staged.provider.inject("send", Refuse())
    staged.provider.inject("send")
    staged.provider.inject("send", Drop(FrameFate.VANISHED))

    report = await staged.controller.restart(policy=RestartPolicy(first_wait_s=0))

    assert report.unconfirmed == ((1, 1),)


async def test_what_was_left_behind_and_is_given_again_after_all_is_not_told_as_lost(stage: Stage) -> None:
    kept = [StreamCursor.chunk(number) for number in (0, 2, 0)]
    staged = await stage.connected(ScriptedAdapter(Script(kept_through=kept)))
    for _ in range(2):
        await staged.controller.send(text())
    staged.provider.inject("send", Refuse())
    for _ in range(2):
        await staged.controller.begin_restart()
        await staged.controller.complete_restart()

    report = await staged.controller.restart()

    assert (report.replayed, report.unconfirmed) == (((1, 2),), ())


async def test_what_is_never_given_again_is_told_once_though_each_restart_tries(stage: Stage) -> None:
    staged = await stage.connected(
        ScriptedAdapter(Script(kept_through=[StreamCursor.chunk(0), StreamCursor.chunk(0)]))
    )
    await staged.controller.send(text())
    told = []
    for _ in range(2):
        staged.provider.inject("send", Refuse())
        told.append((await staged.controller.restart()).unconfirmed)

    assert told == [((1, 1),), ()]


async def test_a_connection_that_knows_everything_leaves_nothing_behind(stage: Stage) -> None:
    """The one before it knew nothing, and died of the drain."""
    staged = await stage.connected(
        ScriptedAdapter(Script(kept_through=[StreamCursor.chunk(0), None])),
        sidecar=plain_sidecar(replay_tail_s=2),
    )
    await staged.controller.send(text())
    await anyio.sleep(3)
    await staged.controller.send(text())
    staged.provider.inject("send", Drop(FrameFate.VANISHED))

    report = await staged.controller.restart(policy=RestartPolicy(first_wait_s=0))

    assert report.attempts == 2
    assert (report.replayed, report.unconfirmed) == ((), ())


async def test_the_outage_of_a_lost_connection_counts_from_its_loss(stage: Stage) -> None:
    staged = await stage.connected(ScriptedAdapter(Script([Drop()])))
    with pytest.raises(ProviderConnectionLost):
        await staged.controller.receive()
    await anyio.sleep(4)

    report = await staged.controller.restart(Reason.CONNECTION_LOST)

    assert report.outage_s == pytest.approx(4)


async def test_an_outage_goes_on_though_a_new_connection_dies_of_what_waited(stage: Stage) -> None:
    staged = await stage.connected(ScriptedAdapter(Script([Drop()])))
    with pytest.raises(ProviderConnectionLost):
        await staged.controller.receive()
    await staged.controller.send(audio())
    staged.provider.inject("send", Drop(FrameFate.NOT_SENT))
    policy = RestartPolicy(first_wait_s=4, jitter=0)

    report = await staged.controller.restart(Reason.CONNECTION_LOST, policy)

    assert (report.reason, report.attempts) == (Reason.CONNECTION_LOST, 2)
    assert report.outage_s == pytest.approx(4)
