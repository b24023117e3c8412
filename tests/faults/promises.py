"""
What a call in which something goes wrong owes to whoever speaks.

All is judged by counts: the server's own, and the session's.
"""

from __future__ import annotations

from collections.abc import Iterator

from realtime_async.testing.loopback.hearing import number_of
from tests.faults.calls import SPAN, TOOL_ASKED, Account, Call
from tests.faults.outage import INSTRUCTIONS

__all__ = ["broken_promises", "most_dials"]


def most_dials(call: Call) -> int:
    """The first, one at once, and one after each wait at its shortest, until one comes after the fault."""
    policy, dials, at = call.policy, 1, 0.0
    # Where the provider says something, the attempts come back; the waits go on growing all the same.
    for attempt in range(policy.attempts if call.ends else policy.lifetime_attempts):
        dials += 1
        if at > call.seconds:
            break
        at += min(policy.first_wait_s * policy.factor**attempt, policy.max_wait_s) * (1 - policy.jitter)
    return dials


def broken_promises(account: Account) -> Iterator[str]:
    """Name those that were not kept."""
    call, delivery = account.call, account.delivery
    if call.dials is not None and account.dials != call.dials:
        yield f"{account.dials} dials"
    if call.goes_away_after_s is None and account.dials > most_dials(call):
        yield f"{account.dials} dials"
    if delivery.refused or delivery.failed:
        yield f"{delivery.refused} refused, {delivery.failed} failed"
    if account.lost_by_the_card:
        yield f"{len(account.lost_by_the_card)} not handed over"
    if delivery.accepted != len(account.spoken) + 2 * account.executed:
        # A result is followed by a request to go on.
        yield f"{delivery.accepted} accepted"
    # One frame is in flight at a time, when a connection is lost.
    if delivery.in_doubt > len(account.heard):
        yield "in doubt"
    if account.errors:
        yield f"errors: {sorted(set(account.errors))}"
    yield from _of_the_end(account) if call.ends else _of_going_on(account)


def _of_the_end(account: Account) -> Iterator[str]:
    """What could not be sent is handed back, and nothing else: it is the last that was said."""
    if account.ended_by is None:
        yield "goes on"
        return
    payloads = [frame.payload for frame in account.ended_by.frames]
    handed_back = [number_of(payload) for payload in payloads if isinstance(payload, bytes)]
    if handed_back != account.spoken[len(account.spoken) - len(handed_back) :]:
        yield "handed back"
    if account.delivery.dropped != len(handed_back):
        yield f"{account.delivery.dropped} dropped"


def _of_going_on(account: Account) -> Iterator[str]:
    call = account.call
    if account.ended_by is not None:
        yield "ended"
    if account.missing or account.unconfirmed or account.delivery.dropped:
        yield (
            f"{len(account.missing)} never heard, {account.unconfirmed} unconfirmed, "
            f"{account.delivery.dropped} dropped"
        )
    twice = sum(map(len, account.heard)) - len(account.spoken)
    if twice > account.delivery.replayed:
        yield "duplicates beyond what was replayed"
    if account.instructions != INSTRUCTIONS:
        yield "configuration"
    if account.answers != call.answers or len(account.reports) < call.restarts:
        yield f"told: {account.told}"
    if call.goes_away_after_s is not None:
        yield from _of_the_goodbye(account)
    if call.script is TOOL_ASKED:
        yield from _of_the_tool(account)
    if call.stall_s is not None:
        yield from _of_the_stall(account)


def _of_the_tool(account: Account) -> Iterator[str]:
    """
    It is called once, and each conversation is told the result at most once.

    What a connection heard while it was ending is told again to the one that follows: as a replay, and counted so.
    """
    told = account.tool_results
    again = sum(told) - 1
    if account.executed != 1 or max(told) != 1 or again > account.delivery.replayed:
        yield f"tool called {account.executed} x, answered {told} x"


def _of_the_goodbye(account: Account) -> Iterator[str]:
    """The connection is left between two turns, and the answer is heard whole."""
    # On a slow machine the end of the next connection may be announced as well.
    if account.told[:3] != ["goodbye", "completed", "restarted: go_away"]:
        yield f"told: {account.told}"
    if account.dials > 1 + account.told.count("goodbye"):
        yield f"{account.dials} dials"
    (answer,) = account.call.script.answers
    if account.audio_bytes != answer.audio_ms * 48 or any(report.fenced for report in account.reports):
        yield f"{account.audio_bytes} bytes heard"


def _of_the_stall(account: Account) -> Iterator[str]:
    """Audio goes on for a span, and waits between two of them."""
    waited_after, _ = account.longest_wait
    if account.stalled_from is None or waited_after % SPAN.frames:
        yield f"waited after {waited_after} frames"
    elif waited_after - account.stalled_from < SPAN.frames - 2:
        yield f"{waited_after - account.stalled_from} frames beside the stall"
