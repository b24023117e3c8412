"""A loopback provider, and certificates that only these tests trust."""

from __future__ import annotations

import ssl
from collections.abc import Iterator

import attrs
import pytest
import trustme

from realtime_async.testing.loopback import LoopbackServer


@attrs.frozen
class Tls:
    """Both ends of a connection that trust each other."""

    server: ssl.SSLContext
    client: ssl.SSLContext


@pytest.fixture(scope="session")
def tls() -> Tls:
    authority = trustme.CA()
    server = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    authority.issue_cert("localhost", "provider.test").configure_cert(server)
    client = ssl.create_default_context()
    authority.configure_trust(client)
    return Tls(server, client)


@pytest.fixture
def echo() -> Iterator[LoopbackServer]:
    """Says what it hears."""
    with LoopbackServer() as server:
        yield server
