"""Providers on 127.0.0.1 that misbehave when told; they need the extra of their provider, or `test`."""

from __future__ import annotations

from realtime_async.testing.loopback._faults import DropHow
from realtime_async.testing.loopback._peer import Peer, PeerGone
from realtime_async.testing.loopback._server import LoopbackServer

__all__ = ["DropHow", "LoopbackServer", "Peer", "PeerGone"]
