"""Which tool calls of a session were begun, and which were withdrawn: each is executed once at most."""

from __future__ import annotations

from collections import OrderedDict

__all__ = ["REMEMBERED_CALLS", "CallBook"]

# A call that comes again does so within a connection or two.
REMEMBERED_CALLS = 4096


class CallBook:
    """The calls of one session, by the id that the provider gave them."""

    def __init__(self) -> None:
        self._known: OrderedDict[str, None] = OrderedDict()

    def begin(self, call_id: str) -> bool:
        """Whether the call is to be executed: it was neither begun nor withdrawn before."""
        if call_id in self._known:
            return False
        self._remember(call_id)
        return True

    def withdraw(self, call_id: str) -> None:
        """The provider does not want it any more; one that was not begun never will be."""
        self._remember(call_id)

    def _remember(self, call_id: str) -> None:
        self._known[call_id] = None
        self._known.move_to_end(call_id)
        while len(self._known) > REMEMBERED_CALLS:
            self._known.popitem(last=False)
