"""The limits of a connection are such that can be kept."""

from __future__ import annotations

import math

import attrs
import pytest

from realtime_async.adapters._websocket import WebSocketLimits
from realtime_async.errors import ContractViolation

NAMES = list(attrs.fields_dict(WebSocketLimits))


@pytest.mark.parametrize("name", NAMES)
@pytest.mark.parametrize("value", [0, -1, math.nan, None, "20", True], ids=repr)
def test_a_limit_that_cannot_be_kept_is_refused_by_its_name(name: str, value: object) -> None:
    with pytest.raises(ContractViolation, match=name):
        WebSocketLimits(**{name: value})  # type: ignore[arg-type]  # that is the point


@pytest.mark.parametrize("name", [name for name in NAMES if not name.endswith("_s")])
def test_what_is_counted_is_whole(name: str) -> None:
    with pytest.raises(ContractViolation, match="whole number"):
        WebSocketLimits(**{name: 1.5})  # type: ignore[arg-type]  # that is the point


def test_a_peer_may_be_trusted_to_live_for_ever() -> None:
    assert WebSocketLimits(ping_every_s=math.inf).ping_every_s == math.inf
