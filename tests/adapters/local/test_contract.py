"""What every adapter must do."""

from __future__ import annotations

from contextlib import AbstractAsyncContextManager

import pytest

from realtime_async.testing import AdapterContract
from realtime_async.testing.adapter_contract import ProviderSide
from tests.adapters.local.local_side import open_local_side


@pytest.mark.usefixtures("ready_made_ears")
class TestLocalSpeechAdapter(AdapterContract):
    def open_adapter(self) -> AbstractAsyncContextManager[ProviderSide]:
        return open_local_side()
