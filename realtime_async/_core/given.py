"""
What was given from outside: whether it is what it must be, before it can come into a record.

A record that holds something else can be written, and never be read again, nor can what follows it.
"""

from __future__ import annotations

import math
from enum import StrEnum
from typing import TypeGuard, TypeVar

import attrs

from realtime_async.errors import ContractViolation

__all__ = ["choice", "is_number", "is_text", "shown", "text", "text_field"]

_Choice = TypeVar("_Choice", bound=StrEnum)

SHOWN_LENGTH = 80


def shown(value: object) -> str:
    """*value* as an error names it: short, whatever it is."""
    if isinstance(value, str):
        return (
            repr(value)
            if len(value) <= SHOWN_LENGTH
            else f"{value[:SHOWN_LENGTH]!r}… ({len(value)} characters)"
        )
    if value is None or isinstance(value, bool | float):
        return repr(value)
    if isinstance(value, int):
        return repr(value) if value.bit_length() <= SHOWN_LENGTH else f"an int of {value.bit_length()} bits"
    # What else it is could hold anything, and be of any length.
    return f"of type {type(value).__name__}"


def choice(kind: type[_Choice], value: object, what: str) -> _Choice:
    """
    The member of *kind* that *value* is, or names.

    Raises:
        ContractViolation: It names none; *what* says what it was to be.
    """
    if type(value) is kind:
        return value
    if isinstance(value, str) and value in set(kind):
        return kind(value)
    raise ContractViolation(
        f"the {what} is {shown(value)}: choose one of {', '.join(kind)}, or a member of {kind.__name__}"
    )


def is_number(value: object) -> TypeGuard[float]:
    """Whether *value* is one that can be reckoned with as a float: True is none, nor is what no float can hold."""
    if isinstance(value, bool) or not isinstance(value, int | float):
        return False
    try:
        return not math.isnan(value)
    except OverflowError:
        return False


def is_text(value: object) -> bool:
    """Whether *value* is text that can be written down: a str without half of a surrogate pair."""
    if not isinstance(value, str):
        return False
    try:
        value.encode()
    except UnicodeEncodeError:
        return False
    return True


def text(value: object, what: str) -> str:
    """
    *value*, if it is text that can be written down.

    Raises:
        ContractViolation: It is not; *what* says what it was to be.
    """
    if not isinstance(value, str):
        raise ContractViolation(f"the {what} is {shown(value)}: give a str")
    if not is_text(value):
        # It is not shown, as a summary that is wrong may be what was said.
        raise ContractViolation(f"the {what} holds half of a surrogate pair: give text that UTF-8 can encode")
    # A member of an enum, or another kind of str, would come back as something else.
    return str.__str__(value)


def text_field(owner: object, field: attrs.Attribute[str], value: object) -> None:
    """Check an attribute of an attrs class, as `text` does."""
    text(value, f"{field.name} of a {type(owner).__name__}")
