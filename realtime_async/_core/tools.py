"""Which tool calls of a session were begun, and which were withdrawn: each is executed once at most."""

from __future__ import annotations

from collections import OrderedDict
from collections.abc import Iterable
from enum import Enum, auto

from realtime_async._core.identifiers import ContentRef, safe_id_fragment

__all__ = ["REMEMBERED_CALLS", "CallBook", "CallVerdict", "call_ref"]

# A call that comes again does so within a connection or two.
REMEMBERED_CALLS = 4096


class CallVerdict(Enum):
    """What is to be done with a call that the provider asks for."""

    EXECUTE = auto()
    IGNORE = auto()
    """It was begun, or withdrawn; who executes it answers it."""
    OUTCOME_UNKNOWN = auto()
    """A process that is dead began it, and its result died with it: whoever asks must be told."""


def call_ref(call_id: str) -> ContentRef:
    """What records name a call by; different calls have different names."""
    return ContentRef(f"realtime.tool_call.{safe_id_fragment(call_id)}")


class CallBook:
    """
    The calls of one session, by the name that its records give them.

    Args:
        begun_before: Those that an earlier process has begun, in order.
    """

    def __init__(self, begun_before: Iterable[str] = ()) -> None:
        self._known: OrderedDict[str, CallVerdict] = OrderedDict()
        for ref in begun_before:
            self._remember(ref, CallVerdict.OUTCOME_UNKNOWN)

    def begin(self, ref: str) -> CallVerdict:
        """What is to be done with the call; asked again, nothing more."""
        verdict = self._known.get(ref, CallVerdict.EXECUTE)
        self._remember(ref, CallVerdict.IGNORE)
        return verdict

    def withdraw(self, ref: str) -> None:
        """The provider does not want it any more; one that was not begun never will be."""
        self._remember(ref, CallVerdict.IGNORE)

    def _remember(self, ref: str, verdict: CallVerdict) -> None:
        self._known[ref] = verdict
        self._known.move_to_end(ref)
        while len(self._known) > REMEMBERED_CALLS:
            self._known.popitem(last=False)
