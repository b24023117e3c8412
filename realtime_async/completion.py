"""When a run may be called complete."""

from __future__ import annotations

import anyio
import attrs

from realtime_async.errors import SessionStateError

__all__ = ["RealtimeCompletionGate"]


# Without slots, as what waiting needs has a place beside the flags, where nobody takes it for one of them.
@attrs.define(slots=False)
class RealtimeCompletionGate:
    """
    Seven claims about a run; it may be called complete when all of them are true.

    Two are made by the controllers that were given this gate, and hold back while one of their
    sessions is without its terminal record; the agent loop makes the others.
    Final visible output is not completion: what it said may not be durable, or may be interrupted still.
    A copy, however it is made, has the flags alone: nobody waits at it, and no session holds it back.
    """

    final_visible_output_seen: bool = False
    """The last thing the user sees or hears is out."""
    terminal_event_replayable: bool = False
    """A late subscriber can still read how the run ended."""
    stream_interventions_terminal: bool = False
    """No rule on the stream is still deciding."""
    realtime_sessions_terminal: bool = False
    """Every session given to this gate has its terminal record; marked by the controllers."""
    output_delivery_terminal: bool = False
    """Outputs are delivered, or failed for good."""
    approvals_terminal: bool = False
    """No approval is pending."""
    journal_terminal: bool = False
    """Every intent of the run has its result, and all of it is durable; marked by the controllers."""

    def __attrs_post_init__(self) -> None:
        # With the controllers: one whose resume failed has nobody else, and holds the gate until another takes over.
        self._open: dict[int, object] = {}
        self._waiters: list[anyio.Event] = []

    def __getstate__(self) -> dict[str, bool]:
        return {name: getattr(self, name) for name in attrs.fields_dict(type(self))}

    def __setstate__(self, flags: dict[str, bool]) -> None:
        for name, flag in flags.items():
            setattr(self, name, flag)
        self.__attrs_post_init__()

    def mark_final_visible_output(self) -> None:
        self._mark("final_visible_output_seen")

    def mark_terminal_event_replayable(self) -> None:
        self._mark("terminal_event_replayable")

    def mark_stream_interventions_terminal(self) -> None:
        self._mark("stream_interventions_terminal")

    def mark_realtime_sessions_terminal(self) -> None:
        """Claim it for a gate without controllers; while one of its sessions is open this does nothing."""
        if not self._open:
            self._mark("realtime_sessions_terminal")

    def mark_output_delivery_terminal(self) -> None:
        self._mark("output_delivery_terminal")

    def mark_approvals_terminal(self) -> None:
        self._mark("approvals_terminal")

    def mark_journal_terminal(self) -> None:
        """Claim it for a gate without controllers; while one of its sessions is open this does nothing."""
        if not self._open:
            self._mark("journal_terminal")

    def can_complete_run(self) -> bool:
        return not self.pending()

    def pending(self) -> tuple[str, ...]:
        """The names of the flags that are still False."""
        return tuple(name for name in _FLAGS if not getattr(self, name))

    async def wait(self) -> None:
        """Return when the run may be called complete."""
        while self.pending():
            event = anyio.Event()
            self._waiters.append(event)
            try:
                await event.wait()
            finally:
                self._waiters.remove(event)

    def session_opens(self, token: int, controller: object) -> None:
        """
        A controller was built on this gate.

        Raises:
            SessionStateError: The gate has let its run complete.
        """
        if self.can_complete_run():
            raise SessionStateError(
                "this completion gate has let its run complete: give the session a gate of its own"
            )
        self._open[token] = controller
        self.realtime_sessions_terminal = False
        self.journal_terminal = False

    def session_ended(self, token: int) -> None:
        """The terminal record of a session is durable, and with it all before it."""
        self._open.pop(token, None)
        if not self._open:
            self._mark("realtime_sessions_terminal")
            self._mark("journal_terminal")

    def session_withdrawn(self, token: int) -> None:
        """A controller gave its session up to another one, which answers for it."""
        self._open.pop(token, None)

    def _mark(self, name: str) -> None:
        setattr(self, name, True)
        for waiter in self._waiters:
            waiter.set()


_FLAGS = tuple(attrs.fields_dict(RealtimeCompletionGate))
