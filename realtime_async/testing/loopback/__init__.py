"""
Providers on 127.0.0.1 that keep their protocol's rules, and misbehave when told.

They need the extra of their provider, or `test`.
"""

from __future__ import annotations

from realtime_async._extras import needs

with needs("websockets", by="a provider on loopback", extra="test"):
    from realtime_async.testing.loopback._faults import DropHow
    from realtime_async.testing.loopback._peer import Peer, PeerGone, PeerLeft
    from realtime_async.testing.loopback._server import LoopbackServer
    from realtime_async.testing.loopback.gemini import LoopbackGemini
    from realtime_async.testing.loopback.openai import LoopbackOpenAI

__all__ = ["DropHow", "LoopbackGemini", "LoopbackOpenAI", "LoopbackServer", "Peer", "PeerGone", "PeerLeft"]
