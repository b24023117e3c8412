"""
A script: what the provider says, and what goes wrong at which call.

Plain data.
A table of faults reads like the test's title:
`faults={("send", 3): Drop(FrameFate.ARRIVED), ("restart", 1): Refuse("overloaded")}`.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping, Sequence
from enum import StrEnum

import attrs

from realtime_async._core.given import choice, shown, text_field
from realtime_async.adapters._given import instance_of, number, whole
from realtime_async.errors import ContractViolation, RetryClassification
from realtime_async.ports import RealtimeInputFrame, RealtimeOutputFrame, StreamCursor

__all__ = [
    "AfterSent",
    "Afterwards",
    "Delay",
    "Drop",
    "EndOfStream",
    "Fault",
    "FaultTable",
    "FrameFate",
    "Hang",
    "HangShielded",
    "Kept",
    "NoRoom",
    "OnInterrupt",
    "Operation",
    "Played",
    "Refuse",
    "Script",
    "in_order",
    "played",
]


class Operation(StrEnum):
    """The calls of an adapter."""

    CONNECT = "connect"
    SEND = "send"
    RECEIVE = "receive"
    INTERRUPT = "interrupt"
    RESTART = "restart"
    CLOSE = "close"


class FrameFate(StrEnum):
    """What really became of the frame in whose `send` the connection died."""

    ARRIVED = "arrived"
    """The provider has it; the caller learns that nobody knows."""
    VANISHED = "vanished"
    """The provider hasn't; the caller learns that nobody knows."""
    NOT_SENT = "not_sent"
    """The provider hasn't, and the caller learns so."""


def _fate(value: str) -> FrameFate:
    return choice(FrameFate, value, "fate of a frame")


def _retry(value: str) -> RetryClassification:
    return choice(RetryClassification, value, "retry of a refusal")


@attrs.frozen
class Drop:
    """The connection dies."""

    fate: FrameFate = attrs.field(default=FrameFate.VANISHED, converter=_fate)
    """Of the frame, where the call is a `send`."""


@attrs.frozen
class Refuse:
    """The provider refuses with `ProviderFailure`; the connection lives on."""

    code: str = attrs.field(default="server_error", validator=text_field)
    retry: RetryClassification = attrs.field(default=RetryClassification.RETRYABLE, converter=_retry)


@attrs.frozen
class Delay:
    """In a call: it takes that much longer.  Among frames: so long after the one before comes the next."""

    seconds: float = attrs.field(validator=number(least=0))


@attrs.frozen
class Hang:
    """The call doesn't end until it is cancelled."""


@attrs.frozen
class HangShielded:
    """The call doesn't end until `ScriptedAdapter.release`, and is deaf to anyio's cancellation."""


@attrs.frozen
class NoRoom:
    """`send_nowait` says no; the `send` that follows goes through."""


@attrs.frozen
class Afterwards:
    """The call has its effect first, and then suffers *fault*."""

    fault: Drop | Refuse | Delay | Hang | HangShielded = attrs.field(
        validator=instance_of(Drop, Refuse, Delay, Hang, HangShielded)
    )


@attrs.frozen
class EndOfStream:
    """`receive` returns None though nobody asked for an end."""


@attrs.frozen
class AfterSent:
    """What follows is said once the session has sent that many frames."""

    frames: int = attrs.field(validator=whole(0))


Fault = Drop | Refuse | Delay | Hang | HangShielded | NoRoom | Afterwards

Played = RealtimeOutputFrame | Drop | Refuse | Delay | AfterSent | EndOfStream
"""What `receive` meets, in order; a `Drop` or `Refuse` is raised by the call that comes to it."""

FaultTable = Mapping[tuple[str, int], Fault | Sequence[Fault]]
"""By operation and number of its call in the session, from 1; several faults befall the call in order."""

Kept = StreamCursor | None | Callable[[Sequence[RealtimeInputFrame]], StreamCursor | None]
"""The `input_kept_through` of a new connection, or how it follows from what the session sent before."""


class OnInterrupt(StrEnum):
    """What `interrupt` does to the script."""

    GO_ON = "go_on"
    """Nothing: the answer is played as it is written."""
    STOP = "stop"
    """The rest of the answer is left out; its `ResponseDone`, with status cancelled, comes at once."""


def played(frames: Iterable[Played]) -> tuple[Played, ...]:
    """
    Return *frames* as what a provider can say.

    Raises:
        ContractViolation: One of them is none: else the adapter would seem to fail, in the midst of a test.
    """
    given = tuple(frames)
    for each in given:
        if not isinstance(each, Played):
            raise ContractViolation(
                f"a script has no place for a {type(each).__name__} among its frames: "
                "give a RealtimeOutputFrame, Drop, Refuse, Delay, AfterSent or EndOfStream"
            )
    return given


def _on_interrupt(value: str) -> OnInterrupt:
    return choice(OnInterrupt, value, "on_interrupt of a script")


def _entries(kept: Iterable[Kept]) -> tuple[Kept, ...]:
    given: object = kept
    entries = tuple(given) if isinstance(given, Iterable) else ()
    if not entries or not all(
        each is None or isinstance(each, StreamCursor) or callable(each) for each in entries
    ):
        raise ContractViolation(
            f"kept_through is {shown(given)}: give a list with at least one entry, each a StreamCursor, a function or None"
        )
    return entries


def _table(faults: FaultTable) -> dict[tuple[Operation, int], tuple[Fault, ...]]:
    given: object = faults
    if not isinstance(given, Mapping) or not all(isinstance(key, tuple) and len(key) == 2 for key in given):
        raise ContractViolation(
            f"the faults are {shown(given)}: give a dict of them, by operation and number, such as ('send', 1)"
        )
    return {
        (choice(Operation, operation, "operation of a fault"), _counted(operation, call)): in_order(
            operation, each
        )
        for (operation, call), each in given.items()
    }


def _counted(operation: str, call: int) -> int:
    if type(call) is not int or call < 1:
        # It would never befall any call, and the test that is about it would hold.
        raise ContractViolation(
            f"there is no {operation} number {call!r} that a fault could befall: its calls are counted from 1"
        )
    return call


def in_order(operation: str, faults: Fault | Sequence[Fault]) -> tuple[Fault, ...]:
    """
    Return *faults* as a sequence that *operation* can suffer.

    Raises:
        ContractViolation: A frame would be lost after `receive` took it, or something is no fault.
    """
    sequence = tuple(faults) if isinstance(faults, Sequence) else (faults,)
    for each in sequence:
        if not isinstance(each, Fault):
            raise ContractViolation(
                f"a {operation} cannot suffer a {type(each).__name__}: "
                "give a Drop, Refuse, Delay, Hang, HangShielded, NoRoom or Afterwards"
            )
    if operation == Operation.RECEIVE and any(isinstance(fault, Afterwards) for fault in sequence):
        raise ContractViolation(
            "a receive has no Afterwards: it would lose the frame that it took; let the fault come before"
        )
    return sequence


@attrs.frozen
class Script:
    """What one session meets; every session plays it from its beginning."""

    frames: tuple[Played, ...] = attrs.field(default=(), converter=played, repr=False)
    """What the provider says; what is left when a connection ends, the next one goes on with."""
    faults: Mapping[tuple[Operation, int], tuple[Fault, ...]] = attrs.field(
        factory=dict[tuple[str, int], Fault], converter=_table
    )
    """What goes wrong, see `FaultTable`."""
    kept_through: tuple[Kept, ...] = attrs.field(default=(None,), converter=_entries)
    """One entry for each connection after the session's first; the last entry serves all that follow."""
    on_interrupt: OnInterrupt = attrs.field(default=OnInterrupt.GO_ON, converter=_on_interrupt)
