"""
How the providers' adapters reach them: by TLS, through a proxy, and nobody else.

Each is met under a name that only the proxy of the environment knows, which counts how often it is asked for it.
"""

from __future__ import annotations

import datetime as dt
import ssl
import traceback
from collections.abc import AsyncIterator, Callable, Iterator
from contextlib import asynccontextmanager

import anyio
import attrs
import pytest
import trustme

from realtime_async import (
    RealtimeInputFrame,
    RealtimeSession,
    RealtimeSessionSidecar,
    RestartExhausted,
    open_session,
)
from realtime_async.adapters._websocket import WebSocketLimits
from realtime_async.adapters.gemini import GeminiLiveAdapter, GeminiLiveConfig
from realtime_async.adapters.openai import OpenAIRealtimeAdapter, OpenAIRealtimeConfig
from realtime_async.errors import ProviderConnectionLost, ProviderFailure, RetryClassification
from realtime_async.journals import MemoryJournal
from realtime_async.ports import (
    RealtimeConnectRequest,
    RealtimeRestartReason,
    RealtimeSessionId,
    ResponseDone,
    Restarted,
)
from realtime_async.testing.loopback import DropHow, LoopbackServer, Peer
from realtime_async.testing.loopback.gemini import GeminiAnswer, GeminiScript, LoopbackGemini
from realtime_async.testing.loopback.openai import LoopbackOpenAI
from tests.adapters.websocket.raw import RawPeer, RawServer
from tests.adapters.websocket.test_proxy import ConnectProxy, no_proxies

__all__ = ["no_proxies"]

HOST = "provider.test"
AZURE = "front-desk.openai.azure.com"
REQUEST = RealtimeConnectRequest(RealtimeSessionId("session.reached"), "provider.reached", "realtime.voice")
Server = LoopbackOpenAI | LoopbackGemini
Adapter = Callable[[Server, ssl.SSLContext | None], OpenAIRealtimeAdapter | GeminiLiveAdapter]


class Certificates:
    """What the server shows, which may change, and a client that knows who issues it."""

    def __init__(self) -> None:
        self._authority = trustme.CA()
        self.server = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
        self.client = ssl.create_default_context()
        self._authority.configure_trust(self.client)
        self.show(HOST, "localhost", AZURE)

    def show(self, *hosts: str, ended: dt.datetime | None = None) -> None:
        began = None if ended is None else ended - dt.timedelta(days=1)
        self._authority.issue_cert(*hosts, not_before=began, not_after=ended).configure_cert(self.server)


def openai(server: Server, trusted: ssl.SSLContext | None) -> OpenAIRealtimeAdapter:
    url = f"wss://{HOST}:{server.port}/v1/realtime"
    config = OpenAIRealtimeConfig(model="gpt-realtime", api_key=server.key, base_url=url)
    return OpenAIRealtimeAdapter(config, ssl_context=trusted)


def gemini(server: Server, trusted: ssl.SSLContext | None) -> GeminiLiveAdapter:
    url = f"wss://{HOST}:{server.port}"
    config = GeminiLiveConfig(model="gemini-3.8-live", api_key=server.key, base_url=url)
    return GeminiLiveAdapter(config, ssl_context=trusted)


@attrs.define
class Reached:
    """A provider, and the only way to it."""

    server: Server
    adapter: Adapter
    certificates: Certificates
    proxy: ConnectProxy

    @property
    def dials(self) -> int:
        return len(self.proxy.heads)

    @asynccontextmanager
    async def call(self) -> AsyncIterator[RealtimeSession]:
        sidecar = RealtimeSessionSidecar.voice_defaults("reached")
        with anyio.fail_after(20):
            async with (
                self.adapter(self.server, self.certificates.client) as adapter,
                open_session(sidecar, adapter, MemoryJournal(), run_id="call-1") as session,
            ):
                yield session


PROVIDERS: dict[str, tuple[Adapter, Callable[[ssl.SSLContext], Server]]] = {
    "openai": (openai, lambda tls: LoopbackOpenAI(tls=tls)),
    "gemini": (gemini, lambda tls: LoopbackGemini(GeminiScript(otherwise=GeminiAnswer()), tls=tls)),
}


@pytest.fixture
def proxy(monkeypatch: pytest.MonkeyPatch) -> Iterator[ConnectProxy]:
    """The proxy of the environment."""
    connect = ConnectProxy()
    with RawServer(connect.serve, upgrades=False) as server:
        monkeypatch.setenv("https_proxy", f"http://127.0.0.1:{server.port}")
        yield connect


@pytest.fixture(params=PROVIDERS)
def reached(request: pytest.FixtureRequest, proxy: ConnectProxy) -> Iterator[Reached]:
    adapter, provider = PROVIDERS[request.param]
    certificates = Certificates()
    with provider(certificates.server) as server:
        yield Reached(server, adapter, certificates, proxy)


def shown(error: BaseException) -> str:
    return "".join(traceback.format_exception(error))


async def test_a_provider_is_talked_to_through_the_proxy_of_the_environment(reached: Reached) -> None:
    async with reached.call() as session:
        await session.send(RealtimeInputFrame.text("A table for two, please."))
        await session.send(RealtimeInputFrame.request_response())
        async for frame in session.frames():
            if isinstance(frame.event, ResponseDone):
                break

    assert isinstance(frame.event, ResponseDone)
    assert frame.event.status == "completed"
    (head,) = reached.proxy.heads
    assert head.startswith(f"CONNECT {HOST}:{reached.server.port} HTTP/1.1\r\n".encode())
    assert reached.server.key.encode() not in head


async def test_a_host_that_the_environment_excepts_is_not_asked_of_the_proxy(
    reached: Reached, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("no_proxy", HOST)

    async with reached.adapter(reached.server, reached.certificates.client) as adapter:
        with pytest.raises(ProviderConnectionLost) as lost, anyio.fail_after(20):
            await adapter.connect(REQUEST)

    # There is no such host but for the proxy.
    assert lost.value.retry is RetryClassification.RETRYABLE
    assert reached.dials == 0


LONG_AGO = dt.datetime(2001, 1, 1, tzinfo=dt.UTC)
CERTIFICATES = {
    "of another host": (lambda shows: shows.show("another.test"), "ostname mismatch"),
    "expired": (lambda shows: shows.show(HOST, ended=LONG_AGO), "has expired"),
    "of an unknown issuer": (lambda shows: None, "unable to get local issuer"),
}


@pytest.mark.parametrize("shows, why", CERTIFICATES.values(), ids=CERTIFICATES)
async def test_a_certificate_that_cannot_be_trusted_is_named_and_nothing_is_told_to_who_shows_it(
    reached: Reached, shows: Callable[[Certificates], None], why: str
) -> None:
    shows(reached.certificates)
    trusted = None if why.startswith("unable") else reached.certificates.client

    async with reached.adapter(reached.server, trusted) as adapter:
        with pytest.raises(ProviderFailure) as refused:
            await adapter.connect(REQUEST)

    assert why in str(refused.value)
    assert HOST in str(refused.value)
    assert (refused.value.code, refused.value.retry) == ("untrusted_certificate", "not_retryable")
    assert reached.server.key not in shown(refused.value)
    assert (reached.dials, reached.server.connections) == (1, 0)


async def test_a_certificate_that_expires_during_a_call_ends_it_with_one_dial(reached: Reached) -> None:
    async with reached.call() as session:
        reached.certificates.show(HOST, ended=LONG_AGO)
        reached.server.drop(DropHow.RESET)
        with pytest.raises(RestartExhausted) as exhausted:
            await anext(session.frames())

    assert "untrusted_certificate" in shown(exhausted.value)
    assert (reached.dials, reached.server.connections) == (2, 1)


@pytest.mark.parametrize(
    "status, advice", [(403, "https_proxy"), (407, "https_proxy"), (503, "try again later")]
)
@pytest.mark.parametrize("adapter", [openai, gemini])
async def test_what_the_proxy_refuses_is_not_laid_to_the_provider(
    monkeypatch: pytest.MonkeyPatch, adapter: Adapter, status: int, advice: str
) -> None:
    def refuse(peer: RawPeer) -> None:
        peer.socket.recv(65536)
        peer.socket.sendall(f"HTTP/1.1 {status} No\r\nContent-Length: 0\r\n\r\n".encode())

    with RawServer(refuse, upgrades=False) as server, LoopbackOpenAI() as provider:
        monkeypatch.setenv("https_proxy", f"http://127.0.0.1:{server.port}")
        async with adapter(provider, None) as reaching:
            with pytest.raises(
                ProviderFailure, match=f"the proxy 127.0.0.1:{server.port} .*{advice}"
            ) as refused:
                await reaching.connect(REQUEST)

    assert "key" not in str(refused.value)
    assert refused.value.http_status == status


class Azure(LoopbackServer):
    """Says what it was asked with, and that a session has begun."""

    def __init__(self, tls: ssl.SSLContext) -> None:
        super().__init__(path="", tls=tls)
        self.asked: list[tuple[str, str | None, str | None]] = []

    async def handle(self, peer: Peer) -> None:
        self.asked.append((peer.path, peer.headers.get("api-key"), peer.headers.get("Authorization")))
        await peer.send_json({"type": "session.created", "session": {}})
        async for _ in peer:
            await peer.send_json({"type": "session.updated", "session": {}})


async def test_azure_is_reached_at_its_address_with_its_header(proxy: ConnectProxy) -> None:
    certificates = Certificates()
    config = OpenAIRealtimeConfig.azure(resource="front-desk", deployment="voice", api_key="azure-key")
    with Azure(certificates.server) as server:
        proxy.ports[443] = server.port
        async with OpenAIRealtimeAdapter(config, ssl_context=certificates.client) as adapter:
            await adapter.connect(REQUEST)

        assert server.asked == [("/openai/v1/realtime?model=voice", "azure-key", None)]
    assert proxy.heads[0].startswith(f"CONNECT {AZURE}:443 HTTP/1.1\r\n".encode())


# A busy machine takes less than that to answer, and to open a connection.
QUICK = WebSocketLimits(ping_every_s=0.05, dead_after_s=1.0)
IDLE: dict[
    str, tuple[Callable[[], Server], Callable[[Server], OpenAIRealtimeAdapter | GeminiLiveAdapter]]
] = {
    "openai": (
        LoopbackOpenAI,
        lambda server: OpenAIRealtimeAdapter(
            OpenAIRealtimeConfig(model="gpt-realtime", api_key=server.key, base_url=server.url), limits=QUICK
        ),
    ),
    "gemini": (
        LoopbackGemini,
        lambda server: GeminiLiveAdapter(
            GeminiLiveConfig(model="gemini-3.8-live", api_key=server.key, base_url=server.url), limits=QUICK
        ),
    ),
}


@pytest.mark.parametrize("provider, adapter_of", IDLE.values(), ids=IDLE)
async def test_a_provider_that_is_gone_without_a_word_is_replaced_though_nobody_speaks(
    provider: Callable[[], Server],
    adapter_of: Callable[[Server], OpenAIRealtimeAdapter | GeminiLiveAdapter],
) -> None:
    """Nothing is sent, nothing comes, and the socket stays open."""
    sidecar = RealtimeSessionSidecar.voice_defaults("idle")

    with anyio.fail_after(20), provider() as server:
        async with (
            adapter_of(server) as adapter,
            open_session(sidecar, adapter, MemoryJournal(), run_id="call-1") as session,
        ):
            server.stall()
            frame = await anext(session.frames())

        assert isinstance(frame.event, Restarted)
        assert frame.event.report.reason is RealtimeRestartReason.CONNECTION_LOST
        assert server.connections >= 2
