"""What every adapter must do, in both ways of taking turns and of taking text."""

from __future__ import annotations

from contextlib import AbstractAsyncContextManager

from realtime_async.adapters.gemini import TextInput, TurnTaking
from realtime_async.testing import AdapterContract
from realtime_async.testing.adapter_contract import ProviderSide
from tests.adapters.gemini.gemini_side import open_gemini_side


class TestGeminiLiveAdapter(AdapterContract):
    def open_adapter(self) -> AbstractAsyncContextManager[ProviderSide]:
        return open_gemini_side(turn_taking=TurnTaking.MANUAL)


class TestGeminiLiveAdapterWithOrderedText(AdapterContract):
    def open_adapter(self) -> AbstractAsyncContextManager[ProviderSide]:
        return open_gemini_side(model="gemini-2.5-flash-native-audio", text_input=TextInput.CONTENT)
