"""A connection is opened in time, to whom it was meant for, or not at all; credentials go nowhere else."""

from __future__ import annotations

import logging
import socket
import ssl
import traceback
from collections.abc import Callable

import anyio
import pytest

from realtime_async.adapters._websocket import (
    HandshakeRefused,
    Unreachable,
    WebSocketFailure,
    WebSocketLimits,
    open_websocket,
)
from realtime_async.testing.loopback import LoopbackServer
from tests.adapters.websocket.conftest import Tls
from tests.adapters.websocket.raw import PATIENCE_S, RawPeer, RawServer, opened

KEY = "sk-secret"


async def failure_of(url: str, **options: object) -> WebSocketFailure:
    """How an attempt failed; its task is gone, and said nothing that it should not."""
    with anyio.fail_after(PATIENCE_S):
        async with anyio.create_task_group() as tasks:
            with pytest.raises(WebSocketFailure) as caught:
                await open_websocket(
                    tasks,
                    f"{url}?key={KEY}",
                    headers={"Authorization": f"Bearer {KEY}"},
                    **options,  # type: ignore[arg-type]  # one of its own
                )
    assert KEY not in "".join(traceback.format_exception(caught.value, chain=True))
    return caught.value


def answer(text: str) -> Callable[[RawPeer], None]:
    def send(peer: RawPeer) -> None:
        peer.socket.recv(65536)
        peer.socket.sendall(text.replace("\n", "\r\n").encode())

    return send


@pytest.mark.parametrize(
    "text, status",
    [
        (f'HTTP/1.1 401 No\nContent-Length: 16\n\n{{"k":"{KEY}"}}', 401),
        ("HTTP/1.1 429 Slow down\nContent-Length: 0\n\n", 429),
        ("HTTP/1.1 503 Later\nContent-Length: 1000\n\nnever ends", 503),
        ("HTTP/1.1 200 OK\nContent-Length: 0\n\n", 200),
    ],
    ids=["401", "429", "503 in part", "200"],
)
async def test_a_refusal_is_known_by_its_status_and_shows_nothing_else(text: str, status: int) -> None:
    with RawServer(answer(text), upgrades=False) as server:
        failure = await failure_of(server.url)

    assert isinstance(failure, HandshakeRefused)
    assert failure.status == status
    assert str(status) in str(failure)


async def test_a_redirect_is_not_followed() -> None:
    with RawServer(RawPeer.read_to_the_end) as other:
        moved = f"HTTP/1.1 307 Moved\nLocation: {other.url}\nContent-Length: 0\n\n"
        with RawServer(answer(moved), upgrades=False) as server:
            failure = await failure_of(server.url)

    assert isinstance(failure, HandshakeRefused)
    assert failure.status == 307
    assert other.peers == []


@pytest.mark.parametrize(
    "text",
    [
        f"{KEY} is no HTTP\n\n",
        "HTTP/1.1 101 Upgrade\nUpgrade: websocket\nConnection: Upgrade\nSec-WebSocket-Accept: wrong\n\n",
        "HTTP/1.1 101 Upgrade\nUpgrade: h2c\nConnection: Upgrade\n\n",
        "",
        "HTTP/1.1 1",
    ],
    ids=["no HTTP", "another key", "no WebSocket", "nothing", "cut off"],
)
async def test_an_answer_that_is_no_handshake_is_no_connection(text: str) -> None:
    with RawServer(answer(text), upgrades=False) as server:
        assert isinstance(await failure_of(server.url), Unreachable)


def say_nothing(peer: RawPeer) -> None:
    while peer.socket.recv(65536):
        pass


@pytest.mark.parametrize("scheme", ["ws", "wss"])
async def test_whoever_does_not_answer_is_given_up_after_the_deadline(scheme: str) -> None:
    with RawServer(say_nothing, upgrades=False) as server:
        began = anyio.current_time()

        failure = await failure_of(
            f"{scheme}://127.0.0.1:{server.port}/", limits=WebSocketLimits(connect_s=0.1)
        )

        assert 0.08 < anyio.current_time() - began < 5
    assert isinstance(failure, Unreachable)
    assert "0.1 s" in str(failure)


async def test_a_refusal_whose_body_never_ends_is_known_by_its_status() -> None:
    def refuse_slowly(peer: RawPeer) -> None:
        answer("HTTP/1.1 503 Later\nContent-Length: 1000\n\n")(peer)
        say_nothing(peer)

    with RawServer(refuse_slowly, upgrades=False) as server:
        # The status has to have come by then, however busy the machine is.
        failure = await failure_of(server.url, limits=WebSocketLimits(connect_s=1.5))

    assert isinstance(failure, HandshakeRefused)


async def test_where_nobody_listens_is_nobody() -> None:
    with socket.socket() as nobody:
        nobody.bind(("127.0.0.1", 0))

        failure = await failure_of(f"ws://127.0.0.1:{nobody.getsockname()[1]}/")

    assert isinstance(failure, Unreachable)
    assert isinstance(failure.__cause__, OSError)


async def test_a_host_that_does_not_exist_is_nobody() -> None:
    assert isinstance(await failure_of("ws://nowhere.invalid/"), Unreachable)


@pytest.mark.parametrize(
    "url",
    [
        "http://localhost/",
        "ws://",
        f"ws://localhost/?key={KEY}#part",
        f"ws://localhost:{KEY}/",
        f"ftp://localhost?{KEY}",
    ],
)
async def test_what_is_no_address_is_refused_without_repeating_it(url: str) -> None:
    async with anyio.create_task_group() as tasks:
        with pytest.raises(ValueError, match="ws://host") as caught:
            await open_websocket(tasks, url)

    assert KEY not in "".join(traceback.format_exception(caught.value))


@pytest.mark.parametrize("value", [f"{KEY}\r\nX-Other: 1", f"{KEY}\n", f"{KEY}é", f"{KEY}\0"])
async def test_a_header_that_is_no_line_is_refused_without_repeating_it(value: str) -> None:
    async with anyio.create_task_group() as tasks:
        with pytest.raises(ValueError, match="'Authorization'") as caught:
            await open_websocket(tasks, "ws://localhost/", headers={"Authorization": value})

    assert KEY not in str(caught.value)


# TLS


async def test_a_certificate_that_nobody_vouches_for_is_refused(tls: Tls) -> None:
    with LoopbackServer(tls=tls.server) as server:
        failure = await failure_of(server.url)

    assert isinstance(failure, Unreachable)
    assert isinstance(failure.__cause__, ssl.SSLCertVerificationError)
    assert server.connections == 0


async def test_a_certificate_for_another_host_is_refused(tls: Tls) -> None:
    with LoopbackServer(tls=tls.server) as server:
        failure = await failure_of(f"wss://127.0.0.1:{server.port}/", ssl_context=tls.client)

    assert isinstance(failure.__cause__, ssl.SSLCertVerificationError)
    assert server.connections == 0


async def test_a_server_that_speaks_no_tls_is_refused(echo: LoopbackServer, tls: Tls) -> None:
    url = f"wss://localhost:{echo.port}/"

    failure = await failure_of(url, ssl_context=tls.client, limits=WebSocketLimits(connect_s=2))

    assert isinstance(failure, Unreachable)


# What an ordinary connection leaves behind


async def test_nothing_that_goes_over_it_is_logged(
    echo: LoopbackServer, caplog: pytest.LogCaptureFixture
) -> None:
    caplog.set_level(logging.DEBUG)

    async with opened(echo.url, headers={"Authorization": KEY}) as websocket:
        await websocket.send(KEY)
        await websocket.receive()
        await websocket.aclose()

    assert KEY not in caplog.text
    assert "realtime_async" not in caplog.text
