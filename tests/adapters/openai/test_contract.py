"""The OpenAI adapter keeps every promise of the port, over a real socket."""

from __future__ import annotations

from contextlib import AbstractAsyncContextManager

from realtime_async.testing import AdapterContract, ProviderSide
from tests.adapters.openai.openai_side import open_openai_side


class TestOpenAIRealtimeAdapter(AdapterContract):
    def open_adapter(self) -> AbstractAsyncContextManager[ProviderSide]:
        return open_openai_side()
