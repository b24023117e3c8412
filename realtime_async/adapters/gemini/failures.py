"""
What the end of a connection means, by its code.

The server's reason is compared with known ones, and shown to nobody.
Sources: the documentation of the Live API, and published reports of what its servers close with.
"""

from __future__ import annotations

from collections.abc import Mapping

from realtime_async.adapters._websocket import (
    End,
    HandshakeRefused,
    Unreachable,
    Untrusted,
    WebSocketClosed,
    WebSocketFailure,
)
from realtime_async.errors import ProviderConnectionLost, ProviderFailure, RetryClassification

__all__ = ["connection_lost", "refused_handle", "setup_failure"]

_RETRY, _FINAL = RetryClassification.RETRYABLE, RetryClassification.NOT_RETRYABLE

_INVALID = 1007
_POLICY = 1008

# Close code: whether another connection can help, and the code that records show.
_CLOSES: Mapping[int, tuple[RetryClassification, str | None]] = {
    1000: (_RETRY, None),
    1001: (_RETRY, "unavailable"),
    1006: (_RETRY, None),
    _INVALID: (_FINAL, "invalid_argument"),
    _POLICY: (_FINAL, "policy_violation"),
    1009: (_RETRY, "message_too_big"),
    1011: (_RETRY, "internal_error"),
    1012: (_RETRY, "unavailable"),
    1013: (_RETRY, "overloaded"),
}

# What a reason contains, in lower case, where it says more than its code.
_REASONS: Mapping[str, tuple[RetryClassification, str | None]] = {
    # Whoever stays after a GoAway is cut off with 1008, and is welcome again at once.
    "goaway": (_RETRY, "session_expired"),
    "api key": (_FINAL, "invalid_api_key"),
    "api_key": (_FINAL, "invalid_api_key"),
    "quota": (_RETRY, "quota_exceeded"),
    "deadline": (_RETRY, "deadline_exceeded"),
    "unavailable": (_RETRY, "unavailable"),
    "is not found": (_FINAL, "model_not_found"),
    "not supported": (_FINAL, "unsupported"),
}

_STATUSES: Mapping[int, tuple[RetryClassification, str | None]] = {
    401: (_FINAL, "unauthenticated"),
    403: (_FINAL, "permission_denied"),
    404: (_FINAL, "not_found"),
    408: (_RETRY, "timeout"),
    425: (_RETRY, "unavailable"),
    429: (_RETRY, "rate_limit_exceeded"),
}
# Redirects among them: the key stays with its host, so another attempt meets the same.
_OTHER_STATUS = (_FINAL, "invalid_request")
_SERVER_ERROR = (_RETRY, "unavailable")


def connection_lost(closed: WebSocketClosed, *, delivered: bool | None = None) -> ProviderConnectionLost:
    """The error of every call from the end of a connection until a restart."""
    retry, code = _meaning(closed)
    advice = "restart the session" if retry is _RETRY else "restarting it as it is can't help"
    return ProviderConnectionLost(
        f"the connection to Gemini Live is gone, close code {closed.code!r}, as {closed.end}: {advice}",
        delivered=delivered,
        retry=retry,
        code=code,
        close_code=closed.code,
    )


def setup_failure(failure: WebSocketFailure) -> ProviderFailure:
    """Why there is no connection."""
    if isinstance(failure, HandshakeRefused):
        otherwise = _SERVER_ERROR if failure.status >= 500 else _OTHER_STATUS
        retry, code = _STATUSES.get(failure.status, otherwise)
        who = "Gemini Live" if failure.proxy is None else f"the proxy {failure.proxy}"
        to_look_at = "api_key, base_url and api_version" if failure.proxy is None else "https_proxy"
        return ProviderFailure(
            f"{who} refused the connection with HTTP status {failure.status!r}: "
            f"{'try again later' if retry is _RETRY else f'look at {to_look_at}'}",
            retry=retry,
            code=code if failure.proxy is None else None,
            http_status=failure.status,
        )
    if isinstance(failure, WebSocketClosed):
        retry, code = _meaning(failure)
        return ProviderFailure(
            f"Gemini Live closed the connection before the session was set up, close code {failure.code!r}, "
            f"as {failure.end}: "
            f"{'try again' if retry is _RETRY else 'look at the key, the model and the configuration'}",
            retry=retry,
            code=code,
            close_code=failure.code,
        )
    if isinstance(failure, Untrusted):
        return ProviderConnectionLost(
            f"Gemini Live can't be trusted: {failure}: look at base_url, this machine's clock and its certificates",
            delivered=False,
            code="untrusted_certificate",
            retry=_FINAL,
        )
    unreachable = str(failure) if isinstance(failure, Unreachable) else type(failure).__name__
    return ProviderConnectionLost(f"Gemini Live can't be reached: {unreachable}", delivered=False)


def refused_handle(failure: WebSocketFailure) -> bool:
    """Whether the setup may have failed for its resumption handle alone."""
    # The same code stands for an expired key, which a handle survives.
    return (
        isinstance(failure, WebSocketClosed)
        and failure.code == _INVALID
        and _meaning(failure) == _CLOSES[_INVALID]
    )


def _meaning(closed: WebSocketClosed) -> tuple[RetryClassification, str | None]:
    if closed.end is End.CLOSED_BY_PEER:
        reason = closed.reason.lower()
        for known, meaning in _REASONS.items():
            if known in reason:
                return meaning
    if closed.end is End.GARBLED:
        # Its code is ours, and what was garbled on the way came from nobody.
        return _RETRY, None
    return _CLOSES.get(closed.code, (_RETRY, None))
