"""
Gemini Live, Google's realtime speech models.

It needs the extra `gemini`, and a key of the Developer API.
"""

from __future__ import annotations

from realtime_async._extras import needs
from realtime_async.adapters.gemini.config import (
    ActivityHandling,
    ApiKey,
    ContextCompression,
    FunctionDeclaration,
    GeminiLiveConfig,
    Modality,
    PlainText,
    Sensitivity,
    SpeechDetection,
    TextInput,
    ToolBehavior,
    Transcript,
    TurnTaking,
)

with needs("websockets", by="the Gemini adapter", extra="gemini"):
    from realtime_async.adapters._websocket.limits import WebSocketLimits
    from realtime_async.adapters.gemini.adapter import GeminiLiveAdapter

__all__ = [
    "ActivityHandling",
    "ApiKey",
    "ContextCompression",
    "FunctionDeclaration",
    "GeminiLiveAdapter",
    "GeminiLiveConfig",
    "Modality",
    "PlainText",
    "Sensitivity",
    "SpeechDetection",
    "TextInput",
    "ToolBehavior",
    "Transcript",
    "TurnTaking",
    "WebSocketLimits",
]
