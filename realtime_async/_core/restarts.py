"""When to try again: time and the random number come in, seconds go out."""

from __future__ import annotations

import math

import attrs

from realtime_async._core.given import is_number, shown
from realtime_async._core.records import RecordedError
from realtime_async.errors import AgentErrorKind, ContractViolation, RetryClassification

__all__ = ["RestartBudget", "RestartPolicy", "cannot_help", "wait_before"]

_MAY_BE_NEVER = ("max_connection_age_s", "stalled_after_s", "unanswered_after_s")


@attrs.frozen
class RestartPolicy:
    """How often, how patiently, and when a connection is replaced."""

    attempts: int = 6
    """Of one restart, the first included; under `open_session`, of all that the provider has said nothing between."""
    first_wait_s: float = 0.25
    """
    Before the second attempt; the first goes at once.

    The waits begin anew with a connection that has completed an answer, or on which something is said after `max_wait_s`.
    """
    factor: float = 2.0
    """By which each further wait grows."""
    max_wait_s: float = 10.0
    jitter: float = 0.25
    """Share of a wait by which it is lengthened or shortened at random, so that many sessions spread out."""
    lifetime_attempts: int = 1000
    """Over all restarts of the session."""
    max_connection_age_s: float | None = attrs.field(default=3300.0, kw_only=True)
    """
    Seconds after which a connection is replaced, at the next end of a turn; None: never.

    With `turn_wait_s` it must stay below what the provider allows: 3600 s at OpenAI, some 600 s at Gemini,
    which announces its end.
    """
    turn_wait_s: float = attrs.field(default=10.0, kw_only=True)
    """Seconds that a planned restart (go_away, age) waits at most for the end of a turn."""
    stalled_after_s: float | None = attrs.field(default=None, kw_only=True)
    """
    Seconds without a word of the provider, though frames go out, after which a connection counts as dead; None: never.

    A microphone sends silence too, so it should be longer than anybody is silent.
    """
    unanswered_after_s: float | None = attrs.field(default=30.0, kw_only=True)
    """
    Seconds without a word of a provider that owes an answer, after which a connection counts as dead; None: never.

    It owes the answer that the program has requested, and the rest of one that it has begun, but nothing while it
    waits for a tool or for the person who speaks.
    It should be longer than a model thinks before it speaks.
    """
    dials_per_s: float = attrs.field(default=20.0, kw_only=True)
    """Connections that all sessions of the process open on one route in a second, at most."""

    def __attrs_post_init__(self) -> None:
        for name, value in attrs.asdict(self).items():
            if not (is_number(value) or (value is None and name in _MAY_BE_NEVER)):
                raise ContractViolation(f"{name} of a restart policy is {shown(value)}: give a number")
        # Neither half an attempt, nor as many as nobody can count: restarts have a bound.
        if not all(type(number) is int and number >= 1 for number in (self.attempts, self.lifetime_attempts)):
            raise ContractViolation(
                f"a restart policy of {shown(self.attempts)} attempts and {shown(self.lifetime_attempts)} in a lifetime "
                "cannot be followed: give at least 1 of each, as whole numbers"
            )
        waits = 0 <= self.first_wait_s < math.inf and self.max_wait_s >= 0
        if not (waits and 1 <= self.factor < math.inf and 0 <= self.jitter <= 1):
            raise ContractViolation(
                f"{self!r} cannot be waited for: waits are at least 0, factor at least 1, jitter 0 to 1, "
                "and only max_wait_s may be infinite"
            )
        if not 0 <= self.turn_wait_s < math.inf:
            raise ContractViolation(f"turn_wait_s is {self.turn_wait_s!r}: give finite seconds of at least 0")
        for name in _MAY_BE_NEVER:
            seconds = getattr(self, name)
            if seconds is not None and not 0 < seconds < math.inf:
                raise ContractViolation(
                    f"{name} is {seconds!r}: give finite seconds above 0, or None for never"
                )
        if not self.dials_per_s > 0:
            raise ContractViolation(
                f"dials_per_s is {self.dials_per_s!r}: give a rate above 0, or math.inf for no limit"
            )


def wait_before(attempt: int, policy: RestartPolicy, random: float) -> float:
    """
    Seconds to wait before *attempt*, which counts from 1.

    Args:
        random: From 0 to 1, evenly distributed.
    """
    if attempt <= 1:
        return 0.0
    # Growing past the cap is pointless, and overflows after some thousand attempts.
    wait = policy.first_wait_s
    for _ in range(attempt - 2):
        wait = min(wait * policy.factor, policy.max_wait_s)
        if wait >= policy.max_wait_s or policy.factor == 1:
            break
    return min(wait, policy.max_wait_s) * (1 + policy.jitter * (2 * random - 1))


# Whatever their `retry` says: the program or the provider's rules must change first.
_NEVER_RETRIED = frozenset({
    AgentErrorKind.POLICY_DENIED,
    AgentErrorKind.CONTRACT_VIOLATION,
    AgentErrorKind.MISSING_REQUIRED_FIELD,
    AgentErrorKind.INVALID_IDENTIFIER,
    AgentErrorKind.SESSION_STATE_ERROR,
})  # fmt: skip


def cannot_help(error: RecordedError) -> bool:
    """Whether another attempt must end as *error* did: a key, a policy, a configuration."""
    return error.retry is RetryClassification.NOT_RETRYABLE or error.kind in _NEVER_RETRIED


def _named(error: RecordedError) -> str:
    facts = [repr(str(error.kind))]
    if error.code is not None:
        facts.append(f"code {error.code!r}")
    if error.http_status is not None:
        facts.append(f"HTTP status {error.http_status}")
    if error.close_code is not None:
        facts.append(f"close code {error.close_code}")
    return ", ".join(facts)


class RestartBudget:
    """
    The attempts that are left.

    A connection that opens is no reason to hope: a provider may accept each one, and end it at once.
    Only what it says, which `refill` is told of, is; and as it may say a little on each, and end it then,
    the waits go on growing until `settle` is told that one did better.
    """

    def __init__(self, policy: RestartPolicy, spent_ever: int = 0) -> None:
        self.policy = policy
        self.spent_ever = spent_ever
        self._spent = 0
        self._in_a_row = 0
        self._is_free = False

    def refill(self) -> None:
        """The provider got on with the conversation."""
        self._spent = 0

    def settle(self) -> None:
        """A connection did what it is for: when it ends, that has nothing to do with how others ended."""
        self._in_a_row = 0

    def grant(self) -> None:
        """Let the next attempt cost nothing, except of the lifetime: nothing has failed."""
        self._is_free = True

    def spend(self) -> None:
        """An attempt is made."""
        self._spent += not self._is_free
        self._in_a_row += not self._is_free
        self._is_free = False
        self.spent_ever += 1

    def wait(self, random: float) -> float:
        """
        Seconds to wait before the next attempt.

        Args:
            random: From 0 to 1, evenly distributed.
        """
        return 0.0 if self._is_free else wait_before(self._in_a_row + 1, self.policy, random)

    def refusal(self, error: RecordedError | None = None) -> str | None:
        """
        Why there is no further attempt; None: there is one.

        Args:
            error: How the last attempt, or the connection, ended; None: well, or it did not say.
        """
        if error is not None and cannot_help(error):
            return f"trying again cannot help after {_named(error)}"
        if self.spent_ever >= self.policy.lifetime_attempts:
            return "the policy allows no more"
        if self._spent >= self.policy.attempts and not self._is_free:
            return "the policy allows no more"
        return None
