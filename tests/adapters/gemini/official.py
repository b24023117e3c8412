"""What Google's own SDK says to a message: its types forbid unknown fields and wrong kinds of value."""

from __future__ import annotations

import json
import warnings
from typing import Any

from google.genai import types

__all__ = ["check_client", "check_server"]

Json = dict[str, Any]

# Part of the real message, and missing in the SDK's type of it.
_SETUP_MODELS: dict[str, Any] = {"realtimeInputConfig": types.RealtimeInputConfig}


def check_client(message: str | bytes) -> Json:
    """
    Return *message*, decoded.

    Raises:
        ValidationError: The SDK would not send such a message.
    """
    body: Json = json.loads(message)
    assert len(body) == 1, sorted(body)
    checked = json.loads(message)
    setup = checked.get("setup", {})
    for field, model in _SETUP_MODELS.items():
        if field in setup:
            _validate(model, setup.pop(field))
    for tool in setup.pop("tools", []):
        _validate(types.Tool, tool)
    _validate(types.LiveClientMessage, checked)
    return body


def check_server(message: str | bytes) -> Json:
    """
    Return *message*, decoded.

    Raises:
        ValidationError: The SDK doesn't understand such a message.
    """
    body: Json = json.loads(message)
    checked = json.loads(message)
    if "voiceActivity" in checked:
        # The SDK renames it after receipt.
        checked["voiceActivity"]["voiceActivityType"] = checked["voiceActivity"].pop("type")
    _validate(types.LiveServerMessage, checked)
    return body


def _validate(model: Any, value: Json) -> None:
    with warnings.catch_warnings():
        # An unknown value of an enum is only warned of.
        warnings.simplefilter("error")
        model.model_validate_json(json.dumps(value))
