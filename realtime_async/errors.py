"""
What can go wrong, split by who must act.

    AgentError
    ├── ContractViolation         the caller: mend the program
    │   ├── MissingRequiredField
    │   ├── InvalidIdentifier
    │   └── SessionStateError
    ├── BackpressureOverflow      the caller: slow down, or choose another overflow policy
    ├── DeadlineExceeded          the caller: try again, or allow more time
    ├── PolicyDenied              the caller: not allowed here
    ├── ProviderFailure           the provider refused
    │   ├── ProviderConnectionLost    the connection is gone: restart
    │   └── RestartExhausted          every restart failed: end the call
    └── JournalFailure            the store: a person must look; the provider was not called
        ├── JournalConflict           somebody else owns the run
        ├── JournalStalled            the store did not answer in time
        └── JournalCorrupt            the store holds what cannot be

A provider's own text is never part of a message: it may hold what was said.
"""

from __future__ import annotations

from collections.abc import Iterable
from enum import StrEnum
from typing import TYPE_CHECKING, ClassVar, TypeVar

if TYPE_CHECKING:
    from realtime_async._core.frames import RealtimeInputFrame

__all__ = [
    "AgentError",
    "AgentErrorKind",
    "BackpressureOverflow",
    "ContractViolation",
    "DeadlineExceeded",
    "InvalidIdentifier",
    "JournalConflict",
    "JournalCorrupt",
    "JournalFailure",
    "JournalStalled",
    "MissingRequiredField",
    "PolicyDenied",
    "ProviderConnectionLost",
    "ProviderFailure",
    "RestartExhausted",
    "RetryClassification",
    "SessionStateError",
]


class AgentErrorKind(StrEnum):
    """What went wrong, as records and logs name it."""

    AGENT_ERROR = "agent_error"
    CONTRACT_VIOLATION = "contract_violation"
    MISSING_REQUIRED_FIELD = "missing_required_field"
    INVALID_IDENTIFIER = "invalid_identifier"
    SESSION_STATE_ERROR = "session_state_error"
    BACKPRESSURE_OVERFLOW = "backpressure_overflow"
    DEADLINE_EXCEEDED = "deadline_exceeded"
    PROVIDER_FAILURE = "provider_failure"
    PROVIDER_CONNECTION_LOST = "provider_connection_lost"
    RESTART_EXHAUSTED = "restart_exhausted"
    POLICY_DENIED = "policy_denied"
    JOURNAL_FAILURE = "journal_failure"
    JOURNAL_CONFLICT = "journal_conflict"
    JOURNAL_STALLED = "journal_stalled"
    JOURNAL_CORRUPT = "journal_corrupt"
    CANCELLED = "cancelled"
    """Only in records: the caller gave the operation up."""


class RetryClassification(StrEnum):
    """Whether doing it again can help."""

    NOT_RETRYABLE = "not_retryable"
    RETRYABLE = "retryable"
    REPAIR_NEEDED = "repair_needed"
    UNKNOWN_OUTCOME = "unknown_outcome"
    """It may have happened: doing it again may do it twice."""


_Choice = TypeVar("_Choice", bound=StrEnum)


def _member(kind: type[_Choice], value: object, default: _Choice) -> _Choice:
    # Whoever raises one of these has trouble enough: an odd value must not hide what went wrong.
    return kind(value) if isinstance(value, str) and value in set(kind) else default


class AgentError(Exception):
    """The root of every error that this package raises on purpose."""

    default_kind: ClassVar[AgentErrorKind] = AgentErrorKind.AGENT_ERROR
    default_retry: ClassVar[RetryClassification] = RetryClassification.NOT_RETRYABLE

    kind: AgentErrorKind
    retry: RetryClassification

    def __init__(
        self,
        message: str,
        *,
        kind: AgentErrorKind | None = None,
        retry: RetryClassification | None = None,
    ) -> None:
        super().__init__(message)
        self.kind = _member(AgentErrorKind, kind, self.default_kind)
        self.retry = _member(RetryClassification, retry, self.default_retry)

    @property
    def message(self) -> str:
        return str(self.args[0])


class ContractViolation(AgentError):
    """The call cannot be carried out as it was made; nothing was done."""

    default_kind = AgentErrorKind.CONTRACT_VIOLATION


class MissingRequiredField(ContractViolation):
    default_kind = AgentErrorKind.MISSING_REQUIRED_FIELD


class InvalidIdentifier(ContractViolation):
    default_kind = AgentErrorKind.INVALID_IDENTIFIER


class SessionStateError(ContractViolation):
    """The operation is not legal in the session's phase; nothing was appended or called."""

    default_kind = AgentErrorKind.SESSION_STATE_ERROR


class BackpressureOverflow(AgentError):
    """The gate is full and the sidecar's policy is to refuse; the frame was not accepted."""

    default_kind = AgentErrorKind.BACKPRESSURE_OVERFLOW
    default_retry = RetryClassification.RETRYABLE


class DeadlineExceeded(AgentError):
    """An operation ran out of its time, see `Deadlines`."""

    default_kind = AgentErrorKind.DEADLINE_EXCEEDED
    default_retry = RetryClassification.RETRYABLE


class PolicyDenied(AgentError):
    default_kind = AgentErrorKind.POLICY_DENIED


class ProviderFailure(AgentError):
    """
    The provider refused.

    The message is the adapter's own; the provider's text stays out of it.
    """

    default_kind = AgentErrorKind.PROVIDER_FAILURE
    default_retry = RetryClassification.RETRYABLE

    def __init__(
        self,
        message: str,
        *,
        kind: AgentErrorKind | None = None,
        retry: RetryClassification | None = None,
        code: str | None = None,
        close_code: int | None = None,
        http_status: int | None = None,
    ) -> None:
        super().__init__(message, kind=kind, retry=retry)
        self.code = code
        self.close_code = close_code
        self.http_status = http_status


class ProviderConnectionLost(ProviderFailure):
    """The connection is gone; the session can be restarted."""

    default_kind = AgentErrorKind.PROVIDER_CONNECTION_LOST

    def __init__(
        self,
        message: str,
        *,
        delivered: bool | None = None,
        kind: AgentErrorKind | None = None,
        retry: RetryClassification | None = None,
        code: str | None = None,
        close_code: int | None = None,
        http_status: int | None = None,
    ) -> None:
        super().__init__(
            message, kind=kind, retry=retry, code=code, close_code=close_code, http_status=http_status
        )
        self.delivered = delivered
        """False: what was being sent certainly did not arrive.  None: nobody knows."""


class RestartExhausted(ProviderFailure):
    """Every attempt that the `RestartPolicy` allows has failed, or none could help."""

    default_kind = AgentErrorKind.RESTART_EXHAUSTED
    default_retry = RetryClassification.NOT_RETRYABLE

    def __init__(
        self,
        message: str,
        *,
        frames: Iterable[RealtimeInputFrame] = (),
        kind: AgentErrorKind | None = None,
        retry: RetryClassification | None = None,
        code: str | None = None,
        close_code: int | None = None,
        http_status: int | None = None,
    ) -> None:
        super().__init__(
            message, kind=kind, retry=retry, code=code, close_code=close_code, http_status=http_status
        )
        self.frames = tuple(frames)
        """What waited to be sent, in order; empty where the session is open still, and holds it itself."""


class JournalFailure(AgentError):
    """A record could not be written; the run stops, and the effect it announced did not happen."""

    default_kind = AgentErrorKind.JOURNAL_FAILURE
    default_retry = RetryClassification.REPAIR_NEEDED


class JournalConflict(JournalFailure):
    """Another record holds this run_id and journal_seq: the run has another owner."""

    default_kind = AgentErrorKind.JOURNAL_CONFLICT
    default_retry = RetryClassification.NOT_RETRYABLE


class JournalStalled(JournalFailure, DeadlineExceeded):
    """A record was not durable within `Deadlines.journal`; it may still become so."""

    default_kind = AgentErrorKind.JOURNAL_STALLED
    default_retry = RetryClassification.REPAIR_NEEDED


class JournalCorrupt(JournalFailure):
    """The journal holds what no run can have written, or what only a later release can read."""

    default_kind = AgentErrorKind.JOURNAL_CORRUPT
