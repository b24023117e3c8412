"""What a program gives a session, looked at before anything is done with it."""

from __future__ import annotations

from realtime_async._core.given import shown
from realtime_async._core.media import AudioFormat
from realtime_async._core.restarts import RestartPolicy
from realtime_async._core.sidecar import RealtimeSessionSidecar
from realtime_async._shell.deadlines import Deadlines
from realtime_async.completion import RealtimeCompletionGate
from realtime_async.errors import ContractViolation

__all__ = ["check_arguments", "check_restart_policy"]

_FORMATS = ("input_format", "output_format")
_ATTRIBUTES = ("adapter_ref", *_FORMATS)
_METHODS = ("connect", "send", "receive", "interrupt", "restart", "close")


def check_arguments(
    sidecar: object, adapter: object, journal: object, *, gate: object, deadlines: object
) -> None:
    """
    Find out whether a session can be made of these.

    Raises:
        ContractViolation: One of them is something else.
    """
    if not isinstance(sidecar, RealtimeSessionSidecar):
        raise ContractViolation(
            f"the sidecar is {shown(sidecar)}: give a RealtimeSessionSidecar, such as voice_defaults() makes"
        )
    _refuse_classes(adapter=adapter, journal=journal)
    missing = [name for name in _ATTRIBUTES if not hasattr(adapter, name)]
    missing += [f"{name}()" for name in _METHODS if not callable(getattr(adapter, name, None))]
    if missing:
        raise ContractViolation(
            f"the adapter is {shown(adapter)}, which has no {', '.join(missing)}: give a RealtimeProviderAdapter"
        )
    for name in _FORMATS:
        audio_format = getattr(adapter, name)
        if audio_format is not None and not isinstance(audio_format, AudioFormat):
            raise ContractViolation(
                f"the adapter's {name} is {shown(audio_format)}: let it declare an AudioFormat, "
                "such as AudioFormat('g711_ulaw', 8000), or None"
            )
    if not callable(getattr(journal, "append", None)):
        # As `SqliteJournal.open` gives it.
        is_to_enter = hasattr(journal, "__aenter__")
        raise ContractViolation(
            f"the journal is {shown(journal)}, which has no append(): "
            f"{'enter it with `async with`, which gives' if is_to_enter else 'give'} a RunJournal"
        )
    if gate is not None and not isinstance(gate, RealtimeCompletionGate):
        raise ContractViolation(f"the gate is {shown(gate)}: give a RealtimeCompletionGate, or None")
    if not isinstance(deadlines, Deadlines):
        raise ContractViolation(f"the deadlines are {shown(deadlines)}: give a Deadlines, or leave them out")


def _refuse_classes(**given: object) -> None:
    # A class has the methods, too, and would be blamed for what it raises when they are called.
    for name, value in given.items():
        if isinstance(value, type):
            raise ContractViolation(f"the {name} is the class {value.__name__}: give an instance of it")


def check_restart_policy(policy: object) -> None:
    """
    Find out whether a session can be supervised by *policy*.

    Raises:
        ContractViolation: It is something else.
    """
    if policy is not None and not isinstance(policy, RestartPolicy):
        raise ContractViolation(
            f"the restart policy is {shown(policy)}: give a RestartPolicy, or None for restarts by the program alone"
        )
