"""The scripted adapter that need not be waited for."""

from __future__ import annotations

from realtime_async.adapters.scripted.adapter import ScriptedAdapter
from realtime_async.adapters.scripted.script import Afterwards, Drop, Fault, Operation, Refuse
from realtime_async.ports import RealtimeInputFrame, RealtimeOutputFrame, RealtimeSessionId

__all__ = ["NowaitScriptedAdapter"]


class NowaitScriptedAdapter(ScriptedAdapter):
    """A `ScriptedAdapter` that offers `send_nowait` and `receive_nowait` too."""

    def send_nowait(self, session_id: RealtimeSessionId, frame: RealtimeInputFrame) -> bool:
        """Take *frame* unless the script, or `suspend`, makes its `send` wait."""
        faults = self._session(session_id).next_faults(Operation.SEND)
        if self._suspend is not None or any(map(_waits, faults)):
            return False
        with self._call(Operation.SEND, session_id, frame=frame) as call:
            for fault in faults:
                if isinstance(fault, Drop | Refuse):
                    self._fail(call, fault)
            self._take(call)
            for fault in faults:
                if isinstance(fault, Afterwards) and isinstance(fault.fault, Drop | Refuse):
                    self._fail(call, fault.fault)
        return True

    def receive_nowait(self, session_id: RealtimeSessionId) -> RealtimeOutputFrame | None:
        """
        Give what is due unless the script, or `suspend`, makes its `receive` wait.

        A call that gives nothing is in no log, and doesn't count for the script.
        """
        session = self._session(session_id)
        faults = session.next_faults(Operation.RECEIVE)
        if self._suspend is not None or any(map(_waits, faults)) or not (faults or session.has_something()):
            return None
        with self._call(Operation.RECEIVE, session_id) as call:
            for fault in faults:
                if isinstance(fault, Drop | Refuse):
                    self._fail(call, fault)
            call.returned = session.take()
            return call.returned


def _waits(fault: Fault) -> bool:
    inner = fault.fault if isinstance(fault, Afterwards) else fault
    return not isinstance(inner, Drop | Refuse)
