"""
From an address to a stream that the handshake can go over: TCP, the proxy of the environment, TLS.

Certificates are checked against the host's name.
"""

from __future__ import annotations

import ssl
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from ipaddress import ip_address

import anyio
from anyio.abc import ByteStream
from anyio.streams.tls import TLSStream
from websockets.exceptions import InvalidProxy
from websockets.http11 import Response
from websockets.proxy import Proxy, get_proxy, parse_proxy, prepare_connect_request
from websockets.streams import StreamReader
from websockets.uri import WebSocketURI

from realtime_async.adapters._websocket.failures import HandshakeRefused, Unreachable, Untrusted

__all__ = ["close_stream", "dialled"]


@asynccontextmanager
async def dialled(address: WebSocketURI, ssl_context: ssl.SSLContext | None) -> AsyncIterator[ByteStream]:
    """
    Hold a stream to *address*.

    Raises:
        Unreachable: Nobody listens there.
        Untrusted: The certificate isn't theirs.
        HandshakeRefused: The proxy refused.
    """
    proxy = _proxy_for(address)
    where = f"{address.host}:{address.port}" if proxy is None else f"proxy {proxy.host}:{proxy.port}"
    try:
        if proxy is None:
            stream: ByteStream = await anyio.connect_tcp(address.host, address.port)
        else:
            stream = await anyio.connect_tcp(proxy.host, proxy.port)
    except OSError as error:
        # Of several addresses anyio tells in the cause.
        raise Unreachable(f"no connection to {where}: {type(error.__cause__ or error).__name__}") from error
    try:
        if proxy is not None:
            stream = await _through(proxy, stream, address)
        if address.secure:
            stream = await _encrypted(stream, address.host, ssl_context)
        yield stream
    finally:
        await close_stream(stream)


async def close_stream(stream: ByteStream) -> None:
    """Close *stream* without waiting for the peer."""
    # Shielded, or a cancelled owner would leave the socket open; there is nothing in it that waits for anybody.
    with anyio.CancelScope(shield=True):
        await stream.aclose()


def _proxy_for(address: WebSocketURI) -> Proxy | None:
    """The proxy that the environment names; a loopback address has none."""
    if _is_loopback(address.host):
        return None
    named = get_proxy(address)
    if named is None:
        return None
    try:
        proxy = parse_proxy(named)
    except InvalidProxy:
        # Its text may hold a password.
        raise Unreachable("the environment names a proxy whose address can't be read") from None
    if proxy.scheme not in ("http", "https"):
        raise Unreachable(f"the environment names a {proxy.scheme} proxy: only http and https are known")
    return proxy


def _is_loopback(host: str) -> bool:
    if host == "localhost":
        return True
    try:
        return ip_address(host).is_loopback
    except ValueError:
        return False


async def _encrypted(stream: ByteStream, host: str, ssl_context: ssl.SSLContext | None) -> ByteStream:
    context = ssl.create_default_context() if ssl_context is None else ssl_context
    try:
        # Servers end TLS without saying so, which is no error.
        return await TLSStream.wrap(stream, hostname=host, ssl_context=context, standard_compatible=False)
    except ssl.SSLCertVerificationError as error:
        # Words of this machine's library, with no other name in them than the host's.
        raise Untrusted(f"no TLS with {host}: {error.verify_message}") from error
    except (OSError, anyio.BrokenResourceError, anyio.EndOfStream) as error:
        raise Unreachable(f"no TLS with {host}: {type(error).__name__}") from error


async def _through(proxy: Proxy, stream: ByteStream, address: WebSocketURI) -> ByteStream:
    """Have *proxy* connect to *address*."""
    try:
        if proxy.scheme == "https":
            stream = await _encrypted(stream, proxy.host, None)
        await stream.send(prepare_connect_request(proxy, address))
        status = await _proxy_status(stream)
    except (anyio.BrokenResourceError, anyio.EndOfStream) as error:
        raise Unreachable(f"proxy {proxy.host}:{proxy.port} hung up") from error
    if not 200 <= status < 300:
        raise HandshakeRefused(
            f"proxy {proxy.host}:{proxy.port} refused to connect to {address.host}: HTTP {status}",
            status=status,
            proxy=f"{proxy.host}:{proxy.port}",
        )
    return stream


async def _proxy_status(stream: ByteStream) -> int:
    reader = StreamReader()
    parsing = Response.parse(reader.read_line, reader.read_exact, reader.read_to_eof, proxy=True)
    while True:
        try:
            next(parsing)
        except StopIteration as stop:
            return int(stop.value.status_code)
        except Exception:  # noqa: BLE001 - whatever it can't read; its text repeats what was said
            raise Unreachable("the proxy's answer is no HTTP") from None
        reader.feed_data(await stream.receive())
