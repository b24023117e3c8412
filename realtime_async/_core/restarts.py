"""When to try again: time and the random number come in, seconds go out."""

from __future__ import annotations

import attrs

from realtime_async.errors import ContractViolation

__all__ = ["RestartPolicy", "wait_before"]


@attrs.frozen
class RestartPolicy:
    """How often, and how patiently, a connection is replaced."""

    attempts: int = 6
    """Of one restart, the first included."""
    first_wait_s: float = 0.25
    """Before the second attempt; the first goes at once."""
    factor: float = 2.0
    """By which each further wait grows."""
    max_wait_s: float = 10.0
    jitter: float = 0.25
    """Share of a wait by which it is lengthened or shortened at random, so that many sessions spread out."""
    lifetime_attempts: int = 1000
    """Over all restarts of the session."""

    def __attrs_post_init__(self) -> None:
        if self.attempts < 1 or self.lifetime_attempts < 1:
            raise ContractViolation(
                f"a restart policy of {self.attempts!r} attempts and {self.lifetime_attempts!r} in a lifetime "
                "allows no restart: give at least 1 of each"
            )
        waits = self.first_wait_s >= 0 and self.max_wait_s >= 0
        # Written so that NaN, of which nothing is true, is refused.
        if not (waits and self.factor >= 1 and 0 <= self.jitter <= 1):
            raise ContractViolation(
                f"{self!r} cannot be waited for: waits are at least 0, factor at least 1, jitter 0 to 1"
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
