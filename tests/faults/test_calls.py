"""
What becomes of a call whose provider kicks it, locks it out or says goodbye, or is away while a tool is at work.

The faults are short, or last for ever; `nox -s faults` has them at their real lengths.
"""

from __future__ import annotations

import attrs
import pytest

from realtime_async import RestartPolicy
from realtime_async.journals import MemoryJournal
from tests.faults.calls import (
    TOOL_ASKED,
    WAITS_FOR_THE_GOODBYE,
    Account,
    Call,
    hold,
)
from tests.faults.promises import broken_promises, most_dials

EVER_S = 3600.0
# A busy machine opens some connections in that time, too.
AWAY_S = 1.0
FEW = RestartPolicy(attempts=4, first_wait_s=0.01, max_wait_s=0.02)
MANY = RestartPolicy(attempts=100, first_wait_s=0.05, max_wait_s=0.1)
# A busy machine loses nothing of what was said.
ROOMY = 500


async def held(call: Call) -> Account:
    async with MemoryJournal() as journal:
        return await hold(attrs.evolve(call, card_frames=ROOMY), journal)


@pytest.mark.parametrize("fault", ["kicked", "welcomed, then kicked"])
async def test_a_provider_that_accepts_and_kicks_is_dialled_as_often_as_the_policy_says_and_the_call_ends(
    fault: str,
) -> None:
    account = await held(Call(fault, EVER_S, policy=FEW, frames=1000, ends=True, dials=1 + FEW.attempts))

    assert [*broken_promises(account)] == []
    assert account.ended_by is not None
    assert account.delivery.queued == 0


@pytest.mark.parametrize("fault", ["kicked", "welcomed, then kicked"])
async def test_a_call_outlives_the_kicks_within_a_bounded_number_of_dials_and_loses_nothing(
    fault: str,
) -> None:
    call = Call(fault, AWAY_S, policy=MANY)

    account = await held(call)

    assert [*broken_promises(account)] == []
    assert 2 < account.dials <= most_dials(call) < MANY.attempts


async def test_a_provider_that_begins_the_answer_again_and_again_and_kicks_is_dialled_as_often_as_the_policy_says() -> (
    None
):
    """What it is asked for by each new connection, it takes up; that is no reason to hope."""
    # Nothing is said meanwhile, so that each new connection comes to be asked.
    call = Call(
        "asked, then kicked", EVER_S, begins="response.created", frames=20, policy=FEW, ends=True, dials=5
    )

    account = await held(call)

    assert [*broken_promises(account)] == []
    assert account.answers == 0


async def test_a_provider_that_gives_a_little_of_the_answer_again_and_again_is_called_back_ever_more_rarely() -> (
    None
):
    policy = RestartPolicy(attempts=2, first_wait_s=0.05, jitter=0)
    call = Call("begun, then kicked", 1.0, begins="response.output_audio.delta", frames=20, policy=policy)

    account = await held(call)

    assert [*broken_promises(account)] == []
    assert 1 + policy.attempts < account.dials <= most_dials(call) < 10


async def test_a_connection_whose_key_is_refused_is_dialled_once_more_and_the_call_ends() -> None:
    account = await held(Call("key refused", EVER_S, policy=MANY, frames=1000, ends=True, dials=1 + 1))

    assert [*broken_promises(account)] == []
    assert account.reports == []


async def test_a_goodbye_in_the_midst_of_an_answer_waits_for_its_end_and_no_frame_is_lost() -> None:
    # Long enough for any machine to have an answer begun.
    call = Call("none", frames=200, script=WAITS_FOR_THE_GOODBYE, goes_away_after_s=2.0)

    account = await held(call)

    assert [*broken_promises(account)] == []


@pytest.mark.parametrize("tool_s", [0.0, AWAY_S / 2, None], ids=["at once", "meanwhile", "after the restart"])
async def test_the_result_of_a_tool_is_delivered_once_whenever_it_comes(tool_s: float | None) -> None:
    call = Call(
        "away", AWAY_S, begins="response.done", script=TOOL_ASKED, answers=2, policy=MANY, tool_s=tool_s
    )

    account = await held(call)

    assert [*broken_promises(account)] == []
    assert account.executed == 1
