"""The proxy of the environment is used, asked for the host by name, and given no credentials but its own."""

from __future__ import annotations

import socket
import threading
from base64 import b64encode
from collections.abc import Iterator
from contextlib import suppress

import anyio
import pytest

from realtime_async.adapters._websocket import (
    HandshakeRefused,
    Unreachable,
    WebSocketFailure,
    open_websocket,
)
from realtime_async.testing.loopback import LoopbackServer
from tests.adapters.websocket.conftest import Tls
from tests.adapters.websocket.raw import PATIENCE_S, RawPeer, RawServer, opened

KEY = "sk-secret"


class ConnectProxy:
    """Takes every host for this one, as only a proxy can that looks names up itself."""

    def __init__(self) -> None:
        self.heads: list[bytes] = []
        self.ports: dict[int, int] = {}
        """Where another one serves in place of the one that is asked for."""

    def serve(self, peer: RawPeer) -> None:
        client = peer.socket
        head = b""
        while b"\r\n\r\n" not in head:
            head += client.recv(4096)
        self.heads.append(head)
        port = int(head.split(b" ")[1].rpartition(b":")[2])
        with socket.create_connection(("127.0.0.1", self.ports.get(port, port))) as provider:
            client.sendall(b"HTTP/1.1 200 Connected\r\n\r\n")
            back = threading.Thread(target=self._copy, args=(provider, client))
            back.start()
            self._copy(client, provider)
            back.join()

    @staticmethod
    def _copy(source: socket.socket, target: socket.socket) -> None:
        with suppress(OSError):
            while data := source.recv(65536):
                target.sendall(data)
        with suppress(OSError):
            target.shutdown(socket.SHUT_RDWR)


@pytest.fixture(autouse=True)
def no_proxies(monkeypatch: pytest.MonkeyPatch) -> None:
    for name in ("ws", "wss", "http", "https", "socks", "all", "no"):
        monkeypatch.delenv(f"{name}_proxy", raising=False)
        monkeypatch.delenv(f"{name}_proxy".upper(), raising=False)


@pytest.fixture
def proxy() -> Iterator[tuple[ConnectProxy, str]]:
    """A proxy, and its address."""
    connect = ConnectProxy()
    with RawServer(connect.serve, upgrades=False) as server:
        yield connect, f"127.0.0.1:{server.port}"


async def failure_through(proxy: str, monkeypatch: pytest.MonkeyPatch) -> WebSocketFailure:
    monkeypatch.setenv("https_proxy", proxy)
    with anyio.fail_after(PATIENCE_S):
        async with anyio.create_task_group() as tasks:
            with pytest.raises(WebSocketFailure) as caught:
                await open_websocket(tasks, "wss://provider.test/", headers={"Authorization": KEY})
    return caught.value


@pytest.mark.parametrize("variable", ["https_proxy", "HTTPS_PROXY", "wss_proxy"])
async def test_tls_goes_through_the_proxy_to_the_host_that_was_meant(
    tls: Tls, proxy: tuple[ConnectProxy, str], monkeypatch: pytest.MonkeyPatch, variable: str
) -> None:
    connect, address = proxy
    monkeypatch.setenv(variable, f"http://user:pass@{address}")
    with LoopbackServer(tls=tls.server) as provider:
        url = f"wss://provider.test:{provider.port}/"
        async with opened(url, headers={"Authorization": KEY}, ssl_context=tls.client) as websocket:
            await websocket.send("x" * 100_000)

            assert len(await websocket.receive()) == 100_000

        (head,) = connect.heads
        assert head.startswith(f"CONNECT provider.test:{provider.port} HTTP/1.1\r\n".encode())
        assert b"Proxy-Authorization: Basic " + b64encode(b"user:pass") in head
        assert KEY.encode() not in head


async def test_what_is_not_encrypted_goes_through_the_proxy_too(
    echo: LoopbackServer, proxy: tuple[ConnectProxy, str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("http_proxy", f"http://{proxy[1]}")

    async with opened(f"ws://provider.test:{echo.port}/") as websocket:
        await websocket.send("hello")

        assert await websocket.receive() == "hello"
    assert len(proxy[0].heads) == 1


@pytest.mark.parametrize("host", ["127.0.0.1", "localhost"])
async def test_this_host_is_reached_without_the_proxy(
    echo: LoopbackServer, proxy: tuple[ConnectProxy, str], monkeypatch: pytest.MonkeyPatch, host: str
) -> None:
    monkeypatch.setenv("http_proxy", f"http://{proxy[1]}")

    async with opened(f"ws://{host}:{echo.port}/") as websocket:
        await websocket.aclose()

    assert proxy[0].heads == []


async def test_a_proxy_that_refuses_is_told_from_the_provider(monkeypatch: pytest.MonkeyPatch) -> None:
    def refuse(peer: RawPeer) -> None:
        peer.socket.recv(65536)
        peer.socket.sendall(f"HTTP/1.1 407 {KEY}\r\nContent-Length: 0\r\n\r\n".encode())

    with RawServer(refuse, upgrades=False) as server:
        failure = await failure_through(f"http://127.0.0.1:{server.port}", monkeypatch)

    assert isinstance(failure, HandshakeRefused)
    assert failure.status == 407
    assert "proxy" in str(failure)
    assert KEY not in str(failure)


@pytest.mark.parametrize("text", [f"{KEY}\r\n\r\n", "HTTP/1.1 2", ""], ids=["garbage", "cut off", "nothing"])
async def test_a_proxy_that_speaks_no_http_is_no_way(monkeypatch: pytest.MonkeyPatch, text: str) -> None:
    def answer(peer: RawPeer) -> None:
        peer.socket.recv(65536)
        peer.socket.sendall(text.encode())

    with RawServer(answer, upgrades=False) as server:
        failure = await failure_through(f"http://127.0.0.1:{server.port}", monkeypatch)

    assert isinstance(failure, Unreachable)
    assert "proxy" in str(failure)
    assert KEY not in str(failure)


@pytest.mark.parametrize("proxy", ["socks5://user:sk-secret@localhost:1", "http://sk-secret@localhost:1"])
async def test_a_proxy_that_cannot_be_used_is_named_without_its_password(
    monkeypatch: pytest.MonkeyPatch, proxy: str
) -> None:
    failure = await failure_through(proxy, monkeypatch)

    assert isinstance(failure, Unreachable)
    assert "proxy" in str(failure)
    assert KEY not in str(failure)
