"""Whatever is done with a session, in whichever order, and whatever goes wrong: the invariants hold."""

from __future__ import annotations

import pytest
from hypothesis import given, settings

from realtime_async.testing.clock import BACKENDS, run_virtual
from tests.controller.any_order import PLANS, Plan, play


@pytest.mark.parametrize("backend", BACKENDS)
@settings(max_examples=200)
@given(plan=PLANS)
def test_the_invariants_hold_in_any_order(backend: str, plan: Plan) -> None:
    run_virtual(play, plan, backend=backend)
