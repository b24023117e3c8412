"""
OpenAI Realtime, and servers that speak its protocol.

`OpenAIRealtimeAdapter` serves any number of sessions, each over a WebSocket of its own; the extra `openai` brings
what it needs.
"""

from __future__ import annotations

from realtime_async._extras import needs
from realtime_async.adapters.openai.config import (
    FunctionTool,
    KeyHeader,
    OpenAIRealtimeConfig,
    OutputModality,
    PlainText,
    SemanticTurns,
    ServerTurns,
    TurnEagerness,
)

with needs("websockets", by="the OpenAI adapter", extra="openai"):
    from realtime_async.adapters._websocket.limits import WebSocketLimits
    from realtime_async.adapters.openai.adapter import OpenAIRealtimeAdapter

__all__ = [
    "FunctionTool",
    "KeyHeader",
    "OpenAIRealtimeAdapter",
    "OpenAIRealtimeConfig",
    "OutputModality",
    "PlainText",
    "SemanticTurns",
    "ServerTurns",
    "TurnEagerness",
    "WebSocketLimits",
]
