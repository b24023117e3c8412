"""A journal and a call log told by hand, so that the oracle can be shown what never happens."""

from __future__ import annotations

from typing import Any

__all__ = ["CERTAIN", "IN_DOUBT", "SESSION", "Tale", "extent"]

SESSION = "realtime.session.call"
IN_DOUBT = {"retry": "unknown_outcome"}
CERTAIN = {"retry": "retryable"}


class Tale:
    """Tells one step after the other; every record is durable as soon as it is told, unless said otherwise."""

    def __init__(self) -> None:
        self.journal: list[dict[str, Any]] = []
        self.log: list[dict[str, Any]] = []
        self.durable: int | None = None
        self.standing: dict[str, Any] = {
            "connection_id": "pending",
            "send_cursor": 0,
            "receive_cursor": 0,
            "restart_count": 0,
        }
        self.queue = {"capacity": 2, "queued_frames": 0, "dropped_frames": 0, "gated_frames": 0}
        self._calls = 0

    def record(self, kind: str, *, of: str | None = None, session: str = SESSION, **fields: Any) -> str:
        """Append a record; *of* is the id of the intent whose result it is."""
        seq = len(self.journal) + 1
        record_id = f"record-{seq}"
        payload: dict[str, Any] = {
            "kind": kind,
            "session_id": session,
            "connection_id": self.standing["connection_id"],
            "send_cursor": {"chunk_sequence": self.standing["send_cursor"]},
            "receive_cursor": {"chunk_sequence": self.standing["receive_cursor"]},
            "restart_count": self.standing["restart_count"],
            "backpressure_state": dict(self.queue),
        }
        if of is not None:
            payload |= {"effect_intent_ref": of, "effect_result_ref": record_id}
        elif (kind.endswith("_requested") and kind != "restart_requested") or kind == "restart_started":
            payload["effect_intent_ref"] = record_id
        self.journal.append(
            {"journal_seq": seq, "record_id": record_id, "run_id": "call", "payload": payload | fields}
        )
        return record_id

    def start(self, operation: str, frame_id: str | None = None, cursor: int | None = None) -> int:
        """Let the adapter be called."""
        self._calls += 1
        begun = len(self.journal)
        self.log.append(
            {
                "edge": "started",
                "call": self._calls,
                "operation": operation,
                "session_id": SESSION,
                "frame_id": frame_id,
                "cursor": cursor,
                "begun": begun,
                "durable": begun if self.durable is None else self.durable,
            }
        )
        return self._calls

    def end(self, call: int, outcome: str = "returned", connection_id: str | None = None) -> None:
        begun = len(self.journal)
        self.log.append(
            {
                "edge": "ended",
                "call": call,
                "outcome": outcome,
                "connection_id": connection_id,
                "begun": begun,
                "durable": begun,
            }
        )

    def connect(self, operation: str = "connect", connection_id: str = "first") -> None:
        """Connect or restart, and be answered."""
        asked, told = {
            "connect": ("connect_requested", "connected"),
            "restart": ("restart_started", "restart_completed"),
        }[operation]
        intent = self.record(asked)
        self.end(self.start(operation), connection_id=connection_id)
        self.standing["connection_id"] = connection_id
        self.standing["restart_count"] += operation == "restart"
        self.record(told, of=intent)

    def send(
        self, frame_id: str, outcome: str = "returned", result: str = "input_sent", **fields: Any
    ) -> str:
        """Send a frame under an intent of its own; a gated one leaves the gate."""
        intent = self.record("input_send_requested", frame_id=frame_id)
        number = self.standing["send_cursor"] + 1
        self.end(self.start("send", frame_id, number), outcome)
        doubtful = (fields.get("error") or {}).get("retry") == "unknown_outcome"
        if result == "input_sent" or doubtful:
            self.standing["send_cursor"] = number
        return self.record(result, of=intent, frame_id=frame_id, **fields)

    def gate(self, frame_id: str) -> None:
        self.queue["queued_frames"] += 1
        self.queue["gated_frames"] += 1
        self.record("backpressure_applied", frame_id=frame_id)

    def ungate(self) -> None:
        """A gated frame is about to be sent."""
        self.queue["queued_frames"] -= 1

    def receive(self) -> None:
        intent = self.record("output_receive_requested")
        self.end(self.start("receive"))
        self.standing["receive_cursor"] += 1
        self.record("output_received", of=intent)

    def close(self) -> str:
        intent = self.record("close_requested")
        self.end(self.start("close"))
        return self.record("closed", of=intent)

    def hand_over(self) -> str:
        intent = self.record("hand_over_requested")
        self.end(self.start("close"))
        return self.record("handed_over", of=intent)


def extent(first: int | None, last: int | None) -> dict[str, Any]:
    if first is None or last is None:
        return {"first": None, "last": None, "frames": 0}
    return {
        "first": {"chunk_sequence": first},
        "last": {"chunk_sequence": last},
        "frames": last - first + 1,
    }
