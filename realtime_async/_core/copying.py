"""Copies of frozen values that differ in a few fields."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, TypeVar

__all__ = ["copied"]

_Value = TypeVar("_Value")


def copied(value: _Value, fields: Mapping[str, Any]) -> _Value:
    """
    *value*, an instance of a frozen class without slots, with other *fields*, which are as the class has them.

    Nothing is converted or checked again: that, and setting each field by itself, takes `attrs.evolve` ten times
    as long, and this happens for every frame and every record.
    """
    # A copy goes on sharing its keys with the others of its class, where a new dict would have its own.
    contents = value.__dict__.copy()
    contents.update(fields)
    assert len(contents) == len(value.__dict__), "there is a field that it does not have"
    copy = object.__new__(type(value))
    object.__setattr__(copy, "__dict__", contents)
    return copy
