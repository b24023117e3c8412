"""The configuration of a session: its checks, its references and its hash."""

from __future__ import annotations

import hashlib
import json
import re
from typing import Any

import attrs
import pytest
from hypothesis import given
from hypothesis import strategies as st

from realtime_async._core.identifiers import safe_id_fragment
from realtime_async._core.sidecar import MediaSpan, RealtimeOverflowPolicy, RealtimeSessionSidecar
from realtime_async.errors import AgentError, ContractViolation, InvalidIdentifier, MissingRequiredField

PLAIN = RealtimeSessionSidecar("front-desk", "provider.acme", "realtime.voice")


def test_a_sidecar_with_its_three_names_is_valid() -> None:
    PLAIN.validate()


@pytest.mark.parametrize("name", ["sidecar_id", "provider_route_ref", "realtime_capability_ref"])
def test_a_missing_name_is_refused_by_name(name: str) -> None:
    nameless: dict[str, Any] = {name: ""}

    with pytest.raises(MissingRequiredField, match=name):
        attrs.evolve(PLAIN, **nameless).validate()


WRONG: list[tuple[str, Any, type[AgentError]]] = [
    ("sidecar_id", "front desk", InvalidIdentifier),
    ("provider_route_ref", "a/b", InvalidIdentifier),
    ("realtime_capability_ref", "é", InvalidIdentifier),
    ("send_policy_ref", "a b", InvalidIdentifier),
    ("close_policy_ref", "", InvalidIdentifier),
    ("queue_capacity", 0, ContractViolation),
    ("queue_capacity", -1, ContractViolation),
    ("queue_capacity", 1.5, ContractViolation),
    ("queue_capacity", True, ContractViolation),
    ("queue_capacity", None, ContractViolation),
    ("max_frame_bytes", 0, ContractViolation),
    ("overflow_policy", "summarize", ContractViolation),
    ("overflow_policy", None, ContractViolation),
    ("replay_tail_s", -0.1, ContractViolation),
    ("replay_tail_s", float("nan"), ContractViolation),
    ("replay_tail_s", float("inf"), ContractViolation),
    ("replay_tail_s", "15", ContractViolation),
    ("stale_after_s", -1.0, ContractViolation),
    ("replay_tail_s", 10**400, ContractViolation),
    ("overflow_policy", {1}, ContractViolation),
    ("send_policy_ref", {1}, InvalidIdentifier),
    ("span", {"frames": 50}, ContractViolation),
    ("span", MediaSpan(frames=0), ContractViolation),
    ("span", MediaSpan(seconds=0.0), ContractViolation),
    ("span", MediaSpan(seconds=float("inf")), ContractViolation),
    ("span", MediaSpan(seconds=True), ContractViolation),
    ("span", MediaSpan(frames=2**53 + 1), ContractViolation),
    ("queue_capacity", 2**53 + 1, ContractViolation),
    ("max_frame_bytes", 2**53 + 1, ContractViolation),
    ("replay_tail_s", True, ContractViolation),
    ("replay_tail_s", 1e300, ContractViolation),
    ("stale_after_s", False, ContractViolation),
]


@pytest.mark.parametrize("name, value, error", WRONG, ids=[f"{name}={value!r}" for name, value, _ in WRONG])
def test_a_value_that_no_session_can_run_by_is_refused(
    name: str, value: Any, error: type[AgentError]
) -> None:
    sidecar = attrs.evolve(PLAIN, **{name: value})

    with pytest.raises(error, match=name):
        sidecar.validate()


@pytest.mark.parametrize(
    "name, value",
    [
        ("queue_capacity", 1),
        ("max_frame_bytes", 1),
        ("overflow_policy", "fail_send"),
        ("replay_tail_s", 0),
        ("stale_after_s", 0.0),
        ("stale_after_s", 3),
        ("span", MediaSpan(1, 0.02)),
        ("queue_capacity", 2**53),
        ("replay_tail_s", 2.0**53),
        ("span", None),
    ],
)
def test_a_value_at_the_edge_is_allowed(name: str, value: Any) -> None:
    attrs.evolve(PLAIN, **{name: value}).validate()


def test_a_sidecar_built_by_hand_has_no_spans_a_tail_and_the_default_queue() -> None:
    assert PLAIN.span is None
    assert PLAIN.stale_after_s is None
    assert (PLAIN.queue_capacity, PLAIN.max_frame_bytes) == (500, 1024 * 1024)
    assert PLAIN.overflow_policy is RealtimeOverflowPolicy.GATE_DURING_RESTART


def test_voice_defaults_are_those_of_a_call() -> None:
    sidecar = RealtimeSessionSidecar.voice_defaults("front-desk")

    sidecar.validate()
    assert sidecar.queue_capacity == 500
    assert sidecar.span == MediaSpan(50, 1.0)
    assert sidecar.replay_tail_s == 15
    assert sidecar.provider_route_ref == "provider.front-desk"
    assert sidecar.realtime_capability_ref == "realtime.voice"
    assert sidecar.policy_refs() == tuple(
        f"policy.front-desk.{ending}"
        for ending in ("media", "send", "receive", "restart", "backpressure", "interrupt", "close")
    )


def test_voice_defaults_give_way_to_what_is_given() -> None:
    sidecar = RealtimeSessionSidecar.voice_defaults(
        "desk",
        "provider.acme",
        "realtime.phone",
        "policy.mine",
        queue_capacity=9,
        span=None,
        close_policy_ref="c",
    )

    assert (sidecar.provider_route_ref, sidecar.realtime_capability_ref) == (
        "provider.acme",
        "realtime.phone",
    )
    assert (sidecar.media_policy_ref, sidecar.close_policy_ref) == ("policy.mine", "c")
    assert (sidecar.queue_capacity, sidecar.span) == (9, None)


def test_voice_defaults_refuse_what_a_sidecar_has_not() -> None:
    with pytest.raises(ContractViolation, match="capacity"):
        RealtimeSessionSidecar.voice_defaults("desk", capacity=9)


@given(sidecar_id=st.text(min_size=1, max_size=256).filter(lambda text: safe_id_fragment(text) == text))
def test_voice_defaults_are_valid_for_every_valid_id(sidecar_id: str) -> None:
    RealtimeSessionSidecar.voice_defaults(sidecar_id).validate()


def test_references_that_are_not_set_are_left_out_and_the_order_stays() -> None:
    sidecar = attrs.evolve(PLAIN, close_policy_ref="z", media_policy_ref="a", restart_policy_ref="m")

    assert sidecar.policy_refs() == ("a", "m", "z")


def test_equal_sidecars_have_equal_hashes() -> None:
    assert attrs.evolve(PLAIN) == PLAIN
    assert hash(attrs.evolve(PLAIN)) == hash(PLAIN)
    assert attrs.evolve(PLAIN).content_hash() == PLAIN.content_hash()


CHANGED: dict[str, Any] = {
    "queue_capacity": 4,
    "max_frame_bytes": 5,
    "overflow_policy": RealtimeOverflowPolicy.FAIL_SEND,
    "span": MediaSpan(2, 3.0),
    "replay_tail_s": 1.0,
    "stale_after_s": 2.0,
}


@pytest.mark.parametrize("name", [field.name for field in attrs.fields(RealtimeSessionSidecar)])
def test_every_field_takes_part_in_the_content_hash(name: str) -> None:
    other = attrs.evolve(PLAIN, **{name: CHANGED.get(name, "another")})

    assert other.content_hash() != PLAIN.content_hash()


def test_the_content_hash_is_that_of_canonical_json() -> None:
    text = json.dumps(attrs.asdict(PLAIN), sort_keys=True, separators=(",", ":"))

    assert re.fullmatch("sha256:[0-9a-f]{64}", PLAIN.content_hash())
    assert PLAIN.content_hash() == f"sha256:{hashlib.sha256(text.encode()).hexdigest()}"


def test_what_is_no_span_is_refused() -> None:
    span: Any = "always"

    with pytest.raises(ContractViolation, match="span is 'always'"):
        RealtimeSessionSidecar.voice_defaults("desk", span=span).validate()


@pytest.mark.parametrize("value", [{1}, object(), {(1, 2): 3}])
def test_what_is_no_json_has_a_hash_of_its_own(value: Any) -> None:
    odd = attrs.evolve(PLAIN, queue_capacity=value)

    assert re.fullmatch("sha256:[0-9a-f]{64}", odd.content_hash())
    assert odd.content_hash() != PLAIN.content_hash()


def test_whole_seconds_hash_like_the_same_seconds_with_a_point() -> None:
    whole = RealtimeSessionSidecar.voice_defaults(
        "desk", replay_tail_s=15, stale_after_s=2, span=MediaSpan(50, 1)
    )
    point = RealtimeSessionSidecar.voice_defaults(
        "desk", replay_tail_s=15.0, stale_after_s=2.0, span=MediaSpan()
    )

    assert whole == point
    assert whole.content_hash() == point.content_hash()


@pytest.mark.parametrize("name", ["replay_tail_s", "stale_after_s"])
def test_no_seconds_hash_alike_with_either_sign(name: str) -> None:
    below: dict[str, Any] = {name: -0.0}
    above: dict[str, Any] = {name: 0.0}
    negative, positive = attrs.evolve(PLAIN, **below), attrs.evolve(PLAIN, **above)

    negative.validate()
    assert negative == positive
    assert negative.content_hash() == positive.content_hash()
