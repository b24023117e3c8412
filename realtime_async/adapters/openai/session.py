"""
One session over the network: its talk, and the WebSocket that it goes over at present.

Messages are read by whoever receives, so nothing is read that nobody wants, and the socket's own bounds hold.
"""

from __future__ import annotations

import math
import ssl
import time

import anyio
import attrs
from anyio.abc import TaskGroup

from realtime_async.adapters._websocket import (
    End,
    HandshakeRefused,
    Unreachable,
    Untrusted,
    WebSocket,
    WebSocketClosed,
    WebSocketLimits,
    open_websocket,
)
from realtime_async.adapters.openai import hearing, saying
from realtime_async.adapters.openai.refusals import REFUSALS, Weight
from realtime_async.adapters.openai.talk import Talk
from realtime_async.errors import (
    ContractViolation,
    ProviderConnectionLost,
    ProviderFailure,
    RetryClassification,
)
from realtime_async.ports import GoAway, RealtimeInputFrame, RealtimeOutputFrame

__all__ = ["Dialer", "Session"]

# Not every server confirms its configuration; one that refuses it says so sooner than this.
CONFIGURED_WITHIN_S = 5.0
# How long a request waits for the results of an answer's other tools.  A call that nobody answers must not silence the
# model for longer; a tool that takes longer brings an answer of its own.
RESULTS_WITHIN_S = 10.0
# Messages that wait behind a connection which takes nothing; stopping one answer is seldom more than two.
TO_SEND = 64

# Close codes of the provider's after which the same would happen again: what we sent, or who we are, is wrong.
_OURS = frozenset({1002, 1003, 1007, 1008, 1009, 1010})
# HTTP statuses that another attempt may not meet.
_PASSING = frozenset({408, 409, 425, 429})


@attrs.frozen
class Dialer:
    """How connections are opened."""

    tasks: TaskGroup
    limits: WebSocketLimits
    ssl_context: ssl.SSLContext | None

    async def open(self, talk: Talk) -> WebSocket:
        """
        Return a connection that knows its configuration.

        Raises:
            ProviderFailure: The provider refused.
            ProviderConnectionLost: It could not be reached, or hung up.
        """
        line = await self._dial(talk)
        try:
            await _greet(talk, line)
        except BaseException as error:
            line.abort()
            if isinstance(error, WebSocketClosed):
                raise _lost(error, talk.ending) from None
            raise
        return line

    async def _dial(self, talk: Talk) -> WebSocket:
        config = talk.config
        headers = await config.handshake_headers()
        try:
            return await open_websocket(
                self.tasks, config.url, headers=headers, limits=self.limits, ssl_context=self.ssl_context
            )
        except HandshakeRefused as error:
            is_passing = error.status >= 500 or error.status in _PASSING
            who = "the provider" if error.proxy is None else f"the proxy {error.proxy}"
            to_check = "the key, the model and the address" if error.proxy is None else "https_proxy"
            raise ProviderFailure(
                f"{who} answered the handshake with HTTP {error.status}: "
                + ("try again later" if is_passing else f"check {to_check}"),
                code="handshake_refused",
                http_status=error.status,
                retry=RetryClassification.RETRYABLE if is_passing else RetryClassification.NOT_RETRYABLE,
            ) from error
        except Untrusted as error:
            raise ProviderConnectionLost(
                f"the provider can't be trusted: {error}: look at base_url, this machine's clock and its certificates",
                delivered=False,
                code="untrusted_certificate",
                retry=RetryClassification.NOT_RETRYABLE,
            ) from error
        except Unreachable as error:
            raise ProviderConnectionLost(
                f"the provider can't be reached: {error}",
                delivered=False,
                retry=RetryClassification.RETRYABLE,
            ) from error
        except ValueError:
            raise ContractViolation(
                "base_url or a header of the configuration can't be sent: give wss://HOST/PATH and printable ASCII"
            ) from None


async def _greet(talk: Talk, line: WebSocket) -> None:
    """Wait for the provider's first word, and tell it what the session is to be like."""
    while not talk.is_begun:
        hearing.hear(talk, await line.receive())
        _check_welcome(talk)
    line.send_nowait(saying.configure(talk))
    with anyio.move_on_after(CONFIGURED_WITHIN_S):
        while not talk.is_configured:
            hearing.hear(talk, await line.receive())
            _check_welcome(talk)


def _check_welcome(talk: Talk) -> None:
    if talk.refused is not None:
        raise talk.refused
    if talk.ending is not None:
        raise ProviderConnectionLost(
            f"the provider ends the connection with {talk.ending!r}: try again later", code=talk.ending
        )


def _lost(
    error: WebSocketClosed, code: str | None, *, delivered: bool | None = None
) -> ProviderConnectionLost:
    # What was garbled on the way came from nobody; what was too large would be so again, and so would what the
    # provider has said that a person must mend: it is known before another connection is asked.
    is_final = (
        (error.end is End.CLOSED_BY_PEER and error.code in _OURS)
        or error.end is End.TOO_BIG
        or REFUSALS.get(code or "") is Weight.FATAL
    )
    retry = RetryClassification.NOT_RETRYABLE if is_final else RetryClassification.RETRYABLE
    advice = "restarting it as it is can't help" if is_final else "restart the session"
    return ProviderConnectionLost(
        f"the connection is gone, close code {error.code}, as {error.end}: {advice}",
        delivered=delivered,
        code=code,
        close_code=error.code,
        retry=retry,
    )


class Session:
    """Of its methods, those that are not async change its state at once."""

    def __init__(self, talk: Talk, line: WebSocket) -> None:
        self.talk = talk
        self.line = line
        self.is_closed = False
        self._is_restarting = False
        self._restarted = anyio.Event()
        self._ends_at = 0.0
        self._goes_at = math.inf
        """When its end is to be told; infinite: it was."""
        self._results_until = math.inf
        """How long a request waits for the results of tools; infinite: none does."""
        self._began()

    def _began(self) -> None:
        """Find out when this connection is to end."""
        config, expires_at = self.talk.config, self.talk.expires_at
        self._ends_at = self.line.opened_at + config.connection_lifetime_s
        left_s = math.inf if expires_at is None else expires_at - time.time()
        # What has just begun has not expired: then the clocks differ, and each connection would be left at once.
        if left_s > 0:
            self._ends_at = min(self._ends_at, anyio.current_time() + left_s)
        self._goes_at = self._ends_at - config.go_away_before_s
        self._results_until = math.inf
        self._remind()
        self._await_results()

    def _await_results(self) -> None:
        """Be reminded of a request that waits for the results of tools, as long as one does."""
        waits = self.talk.answers.waits_for_results
        if waits != (self._results_until < math.inf):
            self._results_until = anyio.current_time() + RESULTS_WITHIN_S if waits else math.inf
            self._remind()

    def _remind(self) -> None:
        self.line.remind_at(min(self._goes_at, self._results_until))

    def _reminded(self) -> None:
        now = anyio.current_time()
        if now >= self._goes_at:
            self._goes_at = math.inf
            self.talk.say(GoAway(round(max(0.0, self._ends_at - now), 3)))
        if now >= self._results_until:
            self.talk.answers.expect_no_results()
            self.talk.pump()
            self._results_until = math.inf
        self._remind()

    # Sending

    def take(self, frame: RealtimeInputFrame) -> bool:
        """
        Hand *frame* to the connection; False: there is no room.

        Raises:
            ProviderFailure: The provider takes no such frame.
            ProviderConnectionLost: The connection is gone.
        """
        try:
            self.line.check()
            if self.talk.to_send and not self.flush():
                return False
            message = saying.message_for(self.talk, frame)
            if message is not None and not self.line.send_nowait(message):
                return False
        except WebSocketClosed as error:
            raise _lost(error, self.talk.ending, delivered=False) from None
        saying.sent(self.talk, frame)
        if self.talk.to_send:
            # A request that waited for the last result of a tool.
            self.flush_what_fits()
        self._await_results()
        return True

    async def take_when_possible(self, frame: RealtimeInputFrame) -> None:
        """Hand *frame* over as `take` does, when there is room."""
        # Never to the connection after this one: a frame that waited through a restart belongs behind what is replayed.
        line = self.line
        while not self.take(frame):
            await line.progress()
            if self.line is not line:
                raise ProviderConnectionLost(
                    "the connection was replaced while the frame waited for room: send it on the new one",
                    delivered=False,
                )

    def flush(self) -> bool:
        """Send what is to be sent as far as there is room; False: not all of it."""
        to_send = self.talk.to_send
        while to_send:
            if not self.line.send_nowait(to_send[0]):
                return False
            to_send.popleft()
        return True

    async def flush_all(self) -> None:
        """
        Raises:
            ProviderConnectionLost: The connection is gone.
        """
        try:
            while not self.flush():
                await self.line.progress()
        except WebSocketClosed as error:
            raise _lost(error, self.talk.ending) from None

    async def room(self) -> None:
        """
        Wait until no more is to be sent than a few messages, which a connection that takes nothing must not add up.

        Raises:
            ProviderConnectionLost: The connection is gone.
        """
        if len(self.talk.to_send) >= TO_SEND:
            await self.flush_all()

    def check(self) -> None:
        """
        Raises:
            ProviderConnectionLost: The connection is gone.
        """
        try:
            self.line.check()
        except WebSocketClosed as error:
            raise _lost(error, self.talk.ending, delivered=False) from None

    # Receiving

    def hear(self) -> RealtimeOutputFrame | None:
        """
        Take what was said next; None: nothing has come, or nothing will.

        Raises:
            ProviderFailure: What came is a refusal, or can't be read.
            ProviderConnectionLost: The connection is gone, and all that came before was taken.
        """
        talk = self.talk
        while not talk.outbox:
            if self.is_closed or self._is_restarting:
                return None
            if self.line.take_reminder():
                self._reminded()
                continue
            try:
                if talk.to_send:
                    self.flush_what_fits()
                message = self.line.receive_nowait()
            except WebSocketClosed as error:
                raise _lost(error, talk.ending) from None
            if message is None:
                return None
            self._take_in(message)
        heard = talk.outbox.popleft()
        if isinstance(heard, ProviderFailure):
            raise heard
        return heard

    async def something_to_hear(self) -> None:
        """Wait until `hear` may know more."""
        if self._is_restarting:
            await self._restarted.wait()
            return
        await self.line.arrival()

    def _take_in(self, message: str | bytes) -> None:
        talk = self.talk
        hearing.hear(talk, message)
        self._await_results()
        if talk.to_send:
            self.flush_what_fits()
        if talk.ending is not None:
            self.line.abort()
            if talk.refused is not None:
                talk.outbox.append(talk.refused)
                talk.refused = None

    def flush_what_fits(self) -> None:
        """Send what is to be sent; whether the connection is gone shows when it is read to its end."""
        if not self.line.is_closed:
            self.flush()

    # The life of the connection

    async def restart(self, dialer: Dialer) -> int:
        """
        Replace the connection.

        Returns:
            The input frame through which the new connection knows all.

        Raises:
            ProviderFailure: The provider refused.
            ProviderConnectionLost: It could not be reached.
        """
        talk = self.talk
        self._is_restarting = True
        self._restarted = anyio.Event()
        try:
            self._leave()
            line = await dialer.open(talk)
            try:
                for message in talk.restoring():
                    await self._put_back(line, message)
            except BaseException as error:
                line.abort()
                if isinstance(error, WebSocketClosed):
                    raise _lost(error, talk.ending) from None
                raise
            if self.is_closed:
                line.abort()
            self.line = line
            self._began()
            kept_through = talk.reconnected()
            self.flush_what_fits()
        finally:
            self._is_restarting = False
            self._restarted.set()
        return kept_through

    def interrupted_meanwhile(self, response_id: str | None, played_ms: int | None) -> None:
        """Note that nobody wants an answer any more, before another connection is asked for it."""
        if not self._is_restarting:
            # What it had delivered tells which answer is meant.
            self._leave()
        saying.interrupt_meanwhile(self.talk, response_id, played_ms)

    async def _put_back(self, line: WebSocket, message: str) -> None:
        while not line.send_nowait(message):
            await line.progress()

    def _leave(self) -> None:
        """End the connection; what it has delivered is heard first."""
        try:
            while (message := self.line.receive_nowait()) is not None:
                hearing.hear(self.talk, message)
        except WebSocketClosed:
            pass
        self.line.abort()
        self.talk.disconnected()

    async def close(self) -> None:
        self.is_closed = True
        self.talk.outbox.clear()
        await self.line.aclose()

    def abort(self) -> None:
        """Close it at once, without goodbye."""
        self.is_closed = True
        self.line.abort()
