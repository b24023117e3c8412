"""How long to wait before the next attempt."""

from __future__ import annotations

import math
from typing import Any

import attrs
import pytest
from hypothesis import given
from hypothesis import strategies as st

from realtime_async._core.records import RecordedError
from realtime_async._core.restarts import RestartBudget, RestartPolicy, cannot_help, wait_before
from realtime_async.errors import (
    AgentError,
    ContractViolation,
    DeadlineExceeded,
    PolicyDenied,
    ProviderConnectionLost,
    ProviderFailure,
    RetryClassification,
    SessionStateError,
)


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
        {"turn_wait_s": -1},
        {"turn_wait_s": math.inf},
        {"max_connection_age_s": 0},
        {"max_connection_age_s": math.nan},
        {"stalled_after_s": -1},
        {"stalled_after_s": math.inf},
        {"dials_per_s": 0},
        {"dials_per_s": math.nan},
        {"attempts": math.inf},
        {"attempts": 2.5},
        {"lifetime_attempts": math.inf},
        {"first_wait_s": math.inf},
        {"factor": math.inf},
    ],
)
def test_a_policy_that_cannot_be_followed_is_refused(fields: dict[str, Any]) -> None:
    with pytest.raises(ContractViolation):
        RestartPolicy(**fields)


@pytest.mark.parametrize("name", list(attrs.fields_dict(RestartPolicy)))
def test_what_is_no_number_is_refused_by_name(name: str) -> None:
    fields: dict[str, Any] = {name: "3"}

    with pytest.raises(ContractViolation, match=f"{name} of a restart policy is '3': give a number"):
        RestartPolicy(**fields)


@pytest.mark.parametrize("name", list(attrs.fields_dict(RestartPolicy)))
@pytest.mark.parametrize(
    "value, shown",
    [
        (True, "True"),
        (math.nan, "nan"),
        (10**5000, "an int of 16610 bits"),
        (-(10**5000), "an int of 16610 bits"),
    ],
    ids=["true", "nan", "huge", "huge and negative"],
)
def test_what_nobody_can_count_with_is_no_number(name: str, value: float, shown: str) -> None:
    """NaN attempts would never be spent, and an int of 5000 digits cannot even be shown."""
    fields: dict[str, Any] = {name: value}

    with pytest.raises(ContractViolation, match=f"{name} of a restart policy is {shown}: give a number"):
        RestartPolicy(**fields)


def test_a_restart_is_tried_a_number_of_times() -> None:
    attempts: Any = None

    with pytest.raises(ContractViolation, match="attempts of a restart policy is None"):
        RestartPolicy(attempts=attempts)


NEVER = RetryClassification.NOT_RETRYABLE
ERRORS = [
    (ProviderFailure("a key that is not known", retry=NEVER), True),
    (ProviderConnectionLost("closed for a policy", retry=NEVER), True),
    (PolicyDenied("not here", retry=RetryClassification.RETRYABLE), True),
    (ContractViolation("no such model", retry=RetryClassification.RETRYABLE), True),
    (SessionStateError("not connected", retry=RetryClassification.UNKNOWN_OUTCOME), True),
    (ProviderFailure("overloaded"), False),
    (ProviderConnectionLost("gone"), False),
    (DeadlineExceeded("no answer"), False),
]


@pytest.mark.parametrize("error, is_final", ERRORS, ids=[error.message for error, _ in ERRORS])
def test_what_cannot_help_is_not_tried_again(error: AgentError, is_final: bool) -> None:
    recorded = RecordedError.of(error)

    assert cannot_help(recorded) is is_final
    assert (RestartBudget(RestartPolicy()).refusal(recorded) is not None) is is_final


@pytest.mark.parametrize(
    "facts, told",
    [
        ({}, "'provider_failure'"),
        ({"code": "invalid_api_key"}, "'provider_failure', code 'invalid_api_key'"),
        ({"http_status": 401}, "'provider_failure', HTTP status 401"),
        ({"close_code": 1008}, "'provider_failure', close code 1008"),
    ],
)
def test_who_gives_up_says_after_what(facts: dict[str, Any], told: str) -> None:
    recorded = RecordedError.of(ProviderFailure("no", retry=NEVER, **facts))

    why = RestartBudget(RestartPolicy()).refusal(recorded)

    assert why == f"trying again cannot help after {told}"


def test_attempts_that_lead_nowhere_are_used_up() -> None:
    budget, waits = RestartBudget(RestartPolicy(attempts=4, jitter=0)), []

    while budget.refusal() is None:
        waits.append(budget.wait(0.5))
        budget.spend()

    assert waits == [0, 0.25, 0.5, 1]


def test_progress_gives_all_attempts_back() -> None:
    budget = RestartBudget(RestartPolicy(attempts=2))
    budget.spend()
    budget.spend()
    used_up = budget.refusal()

    budget.refill()

    assert used_up is not None
    assert budget.refusal() is None


def test_waits_grow_over_attempts_that_were_given_back_until_a_connection_does_better() -> None:
    budget, waits = RestartBudget(RestartPolicy(attempts=2, jitter=0)), []
    for _ in range(5):
        waits.append(budget.wait(0.5))
        budget.spend()
        budget.refill()

    budget.settle()

    assert waits == [0, 0.25, 0.5, 1, 2]
    assert budget.wait(0.5) == 0


def test_a_restart_that_follows_no_failure_costs_nothing() -> None:
    budget = RestartBudget(RestartPolicy(attempts=1))
    for _ in range(10):
        budget.grant()
        assert budget.refusal() is None
        assert budget.wait(0.5) == 0
        budget.spend()

    assert budget.refusal() is None
    budget.spend()
    assert budget.refusal() is not None


def test_no_progress_prolongs_the_lifetime() -> None:
    budget = RestartBudget(RestartPolicy(lifetime_attempts=3), spent_ever=1)
    for _ in range(2):
        assert budget.refusal() is None
        budget.grant()
        budget.spend()
        budget.refill()

    assert budget.refusal() is not None
    budget.grant()
    assert budget.refusal() is not None
