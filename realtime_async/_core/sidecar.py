"""
How one session is to be run: the configuration that its records refer to.

A sidecar is plain data until `validate()` has seen it; `connect` validates before it appends anything.
"""

from __future__ import annotations

import hashlib
import json
import math
from enum import StrEnum
from typing import Any, Self, TypeVar, cast

import attrs

from realtime_async._core.given import is_number, shown
from realtime_async._core.identifiers import Identifier, PolicyRef, safe_id_fragment
from realtime_async.errors import ContractViolation, InvalidIdentifier, MissingRequiredField

__all__ = ["MediaSpan", "RealtimeOverflowPolicy", "RealtimeSessionSidecar", "runnable"]


class RealtimeOverflowPolicy(StrEnum):
    """What `send` does while the gate is closed and its queue is full."""

    GATE_DURING_RESTART = "gate_during_restart"
    """It waits for room, up to `Deadlines.gate`."""
    DROP_NONCRITICAL = "drop_noncritical"
    """It evicts the oldest non-critical frame; it waits only if all are critical."""
    FAIL_SEND = "fail_send"
    """It raises `BackpressureOverflow`."""


def _seconds_of(value: float) -> float:
    # 1 and 1.0 are equal, and so are 0.0 and -0.0, so their hashes must be; what is no number is `validate`'s to refuse.
    try:
        return float(value) + 0.0 if type(value) in {int, float} else value
    except OverflowError:
        return math.inf


def _seconds_or_none(value: float | None) -> float | None:
    return None if value is None else _seconds_of(value)


@attrs.frozen
class MediaSpan:
    """How much audio or video one intent may stand for; whichever is reached first ends the span."""

    frames: int = 50
    seconds: float = attrs.field(default=1.0, converter=_seconds_of)


def _policy_if_known(value: object) -> RealtimeOverflowPolicy:
    """The policy of that name; what is none stays as it is until `validate` complains of it."""
    if isinstance(value, str) and value in set(RealtimeOverflowPolicy):
        return RealtimeOverflowPolicy(value)
    return cast("RealtimeOverflowPolicy", value)


# By name: an attribute of the sidecar, and the ending of the reference that voice_defaults gives it.
_POLICIES = {
    "media_policy_ref": "media",
    "send_policy_ref": "send",
    "receive_policy_ref": "receive",
    "restart_policy_ref": "restart",
    "backpressure_policy_ref": "backpressure",
    "interruption_policy_ref": "interrupt",
    "close_policy_ref": "close",
}


@attrs.frozen
class RealtimeSessionSidecar:
    """The configuration of a session; equal sidecars have equal hashes."""

    sidecar_id: str = ""
    provider_route_ref: str = ""
    realtime_capability_ref: str = ""
    media_policy_ref: str | None = attrs.field(default=None, kw_only=True)
    send_policy_ref: str | None = attrs.field(default=None, kw_only=True)
    receive_policy_ref: str | None = attrs.field(default=None, kw_only=True)
    restart_policy_ref: str | None = attrs.field(default=None, kw_only=True)
    backpressure_policy_ref: str | None = attrs.field(default=None, kw_only=True)
    interruption_policy_ref: str | None = attrs.field(default=None, kw_only=True)
    close_policy_ref: str | None = attrs.field(default=None, kw_only=True)
    queue_capacity: int = attrs.field(default=500, kw_only=True)
    """Frames that the gate holds while the connection restarts; 500 of 20 ms are 10 s."""
    max_frame_bytes: int = attrs.field(default=1024 * 1024, kw_only=True)
    overflow_policy: RealtimeOverflowPolicy = attrs.field(
        default=RealtimeOverflowPolicy.GATE_DURING_RESTART, kw_only=True, converter=_policy_if_known
    )
    span: MediaSpan | None = attrs.field(default=None, kw_only=True)
    """None: every frame has an intent and a result of its own."""
    replay_tail_s: float = attrs.field(default=15.0, kw_only=True, converter=_seconds_of)
    """Seconds of input kept for a connection that has forgotten it; 0 keeps none."""
    stale_after_s: float | None = attrs.field(default=None, kw_only=True, converter=_seconds_or_none)
    """Frames that waited longer in the gate are dropped instead of sent; None: however long they waited."""

    @classmethod
    def voice_defaults(
        cls,
        sidecar_id: str,
        provider_route_ref: str | None = None,
        realtime_capability_ref: str | None = None,
        media_policy_ref: str | None = None,
        **overrides: Any,
    ) -> Self:
        """
        Configure a voice call: 10 s of queue, spans of 50 frames or 1 s, a tail of 15 s.

        Args:
            overrides: Any other field of the sidecar, by name.
        """
        fragment = safe_id_fragment(sidecar_id)
        fields: dict[str, Any] = {name: f"policy.{fragment}.{ending}" for name, ending in _POLICIES.items()}
        fields["span"] = MediaSpan()
        if media_policy_ref is not None:
            fields["media_policy_ref"] = media_policy_ref
        unknown = overrides.keys() - attrs.fields_dict(cls).keys()
        if unknown:
            raise ContractViolation(
                f"a sidecar has no {', '.join(sorted(unknown))}: its fields are {', '.join(attrs.fields_dict(cls))}"
            )
        return cls(
            sidecar_id,
            f"provider.{fragment}" if provider_route_ref is None else provider_route_ref,
            "realtime.voice" if realtime_capability_ref is None else realtime_capability_ref,
            **(fields | overrides),
        )

    def validate(self) -> None:
        """
        Check that a session can be run by this.

        Raises:
            MissingRequiredField: An id or a route is empty.
            InvalidIdentifier: A reference is not an identifier.
            ContractViolation: A number is out of its range.
        """
        for name in ("sidecar_id", "provider_route_ref", "realtime_capability_ref"):
            if not getattr(self, name):
                raise MissingRequiredField(f"the sidecar's {name} is empty: give it before connecting")
            _reference(name, getattr(self, name), Identifier)
        self.policy_refs()
        _whole("queue_capacity", self.queue_capacity)
        _whole("max_frame_bytes", self.max_frame_bytes)
        _enum("overflow_policy", self.overflow_policy)
        _seconds("replay_tail_s", self.replay_tail_s, least=0.0)
        if self.stale_after_s is not None:
            _seconds("stale_after_s", self.stale_after_s, least=0.0)
        if self.span is not None:
            if not isinstance(self.span, MediaSpan):
                raise ContractViolation(
                    f"the sidecar's span is {shown(self.span)}: give a MediaSpan, or None"
                )
            _whole("span.frames", self.span.frames)
            _seconds("span.seconds", self.span.seconds, least=0.001)

    def policy_refs(self) -> tuple[PolicyRef, ...]:
        """The references that are set, in the order media, send, receive, restart, backpressure, interruption, close."""
        given = ((name, getattr(self, name)) for name in _POLICIES)
        return tuple(_reference(name, ref, PolicyRef) for name, ref in given if ref is not None)

    def content_hash(self) -> str:
        """`sha256:` and the digest of this sidecar as JSON with sorted keys and no spaces."""
        fields = attrs.asdict(self)
        try:
            text = json.dumps(fields, sort_keys=True, separators=(",", ":"))
        except (TypeError, ValueError, RecursionError):
            # What is no JSON is not valid either, but a session that never connects has a fingerprint all the same.
            text = json.dumps({name: shown(value) for name, value in fields.items()}, sort_keys=True)
        return f"sha256:{hashlib.sha256(text.encode()).hexdigest()}"


def runnable(sidecar: RealtimeSessionSidecar) -> RealtimeSessionSidecar:
    """
    *sidecar*, or an empty one where no session can be run by it.

    `connect` complains of such a one; what never connects can be closed, and is made of parts that are.
    """
    try:
        sidecar.validate()
    except ContractViolation:
        return RealtimeSessionSidecar()
    return sidecar


_Reference = TypeVar("_Reference", bound=Identifier)


def _reference(name: str, value: str, kind: type[_Reference]) -> _Reference:
    try:
        return kind(value)
    except InvalidIdentifier as error:
        raise InvalidIdentifier(f"the sidecar's {name} cannot be: {error}") from None


# Beyond it a number is no size or time that anybody means, and not every reader of JSON keeps it.
_MOST = 2**53


def _whole(name: str, value: object) -> None:
    if not isinstance(value, int) or isinstance(value, bool) or value < 1:
        raise ContractViolation(f"the sidecar's {name} is {shown(value)}: give a whole number of at least 1")
    if value > _MOST:
        raise ContractViolation(
            f"the sidecar's {name} is {shown(value)}: give at most 2**53, which is no bound"
        )


def _enum(name: str, value: object) -> None:
    if not isinstance(value, RealtimeOverflowPolicy):
        raise ContractViolation(
            f"the sidecar's {name} is {shown(value)}: choose one of {', '.join(RealtimeOverflowPolicy)}"
        )


def _seconds(name: str, value: object, *, least: float) -> None:
    if not (is_number(value) and least <= value < math.inf):
        raise ContractViolation(
            f"the sidecar's {name} is {shown(value)}: give finite seconds of at least {least}"
        )
    if value > _MOST:
        raise ContractViolation(
            f"the sidecar's {name} is {shown(value)}: give at most 2**53 seconds, which is for ever"
        )
