"""How long to wait before the next attempt."""

from __future__ import annotations

import math
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from realtime_async._core.restarts import RestartPolicy, wait_before
from realtime_async.errors import ContractViolation


def test_waits_grow_to_their_limit() -> None:
    policy = RestartPolicy(first_wait_s=0.25, factor=2.0, max_wait_s=3.0, jitter=0.0)

    assert [wait_before(attempt, policy, 0.5) for attempt in range(1, 9)] == [0, 0.25, 0.5, 1, 2, 3, 3, 3]


def test_a_factor_of_one_waits_evenly() -> None:
    assert wait_before(10**9, RestartPolicy(factor=1.0, jitter=0.0), 0.5) == 0.25


@given(st.integers(1, 10_000), st.floats(0, 1), st.floats(0, 1), st.floats(0, 10), st.floats(1, 9))
def test_no_wait_is_longer_than_the_limit_and_its_jitter(
    attempt: int, random: float, jitter: float, first: float, factor: float
) -> None:
    policy = RestartPolicy(first_wait_s=first, factor=factor, max_wait_s=5.0, jitter=jitter)

    assert 0 <= wait_before(attempt, policy, random) <= 5.0 * (1 + jitter) + 1e-9


@pytest.mark.parametrize(
    "fields",
    [
        {"attempts": 0},
        {"lifetime_attempts": 0},
        {"first_wait_s": -0.1},
        {"max_wait_s": -1},
        {"factor": 0.5},
        {"jitter": 1.5},
        {"first_wait_s": math.nan},
    ],
)
def test_a_policy_that_cannot_be_followed_is_refused(fields: dict[str, Any]) -> None:
    with pytest.raises(ContractViolation):
        RestartPolicy(**fields)
