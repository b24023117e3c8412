"""
What a program gives an adapter, looked at when it is given.

At the provider it would be a refusal that names no field, or a failure that looks like the adapter's own.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Iterable, Mapping
from types import MappingProxyType, NoneType
from typing import Any, TypeVar

import attrs

from realtime_async._core.given import is_number, shown, text, text_field
from realtime_async.errors import ContractViolation

__all__ = [
    "check_key_source",
    "given",
    "header_fields",
    "instance_of",
    "number",
    "text_if_any",
    "texts",
    "whole",
]

_Given = TypeVar("_Given")
_Validator = Callable[[object, "attrs.Attribute[Any]", object], None]

# What RFC 9110 lets a header's name be made of, beside letters and digits.
_OF_NAMES = frozenset("!#$%&'*+-.^_`|~")


def given(value: object, kind: type[_Given], what: str) -> _Given:
    """
    *value*, if it is a *kind*.

    Raises:
        ContractViolation: It is not; *what* says what it was to be.
    """
    if not isinstance(value, kind):
        raise ContractViolation(f"the {what} is {shown(value)}: give a {kind.__name__}")
    return value


def texts(values: Iterable[str], what: str) -> list[str]:
    """
    *values*, if they are texts: a single one would pass for a list of its letters.

    Raises:
        ContractViolation: They are not; *what* says what they were to be.
    """
    if isinstance(values, str | bytes) or not isinstance(values, Iterable):
        raise ContractViolation(f"the {what} are {shown(values)}: put them into a list, each as a str")
    return [text(value, f"one of the {what}") for value in values]


def text_if_any(owner: object, field: attrs.Attribute[Any], value: object) -> None:
    """Check an attribute that is text, or None."""
    if value is not None:
        text_field(owner, field, value)


def instance_of(*kinds: type) -> _Validator:
    """A check of an attribute that is of one of *kinds*."""
    wanted = " or ".join("None" if kind is NoneType else f"a {kind.__name__}" for kind in kinds)

    def check(owner: object, field: attrs.Attribute[Any], value: object) -> None:
        if not isinstance(value, kinds):
            raise ContractViolation(f"{_named(owner, field)} is {shown(value)}: give {wanted}")

    return check


def number(*, least: float = -math.inf, above: float = -math.inf, most: float = math.inf) -> _Validator:
    """A check of an attribute that is a number within these bounds."""
    bounds = {"at least": least, "above": above, "at most": most}
    wanted = " and ".join(f"{word} {bound}" for word, bound in bounds.items() if math.isfinite(bound))

    def check(owner: object, field: attrs.Attribute[Any], value: object) -> None:
        if not (is_number(value) and least <= value <= most and value > above):
            raise ContractViolation(f"{_named(owner, field)} is {shown(value)}: give a number {wanted}")

    return check


def whole(least: int) -> _Validator:
    """A check of an attribute that is a whole number of at least *least*."""

    def check(owner: object, field: attrs.Attribute[Any], value: object) -> None:
        if type(value) is not int or value < least:
            raise ContractViolation(
                f"{_named(owner, field)} is {shown(value)}: give a whole number of at least {least}"
            )

    return check


def check_key_source(owner: object, field: attrs.Attribute[Any], value: object) -> None:
    """Check that an attribute is a key, or what can be asked for one; it is not shown."""
    if not isinstance(value, str) and not callable(value):
        raise ContractViolation(
            f"{_named(owner, field)} is of type {type(value).__name__}: give the key as a str, or an async function "
            "that returns it"
        )


def header_fields(values: Mapping[str, str]) -> Mapping[str, str]:
    """
    The headers of a handshake, which no one can change any more.

    Raises:
        ContractViolation: One of them cannot be sent; what it bears is not shown.
    """
    if not isinstance(values, Mapping):
        raise ContractViolation(f"the headers are {shown(values)}: give a dict of names and values")
    for name, value in values.items():
        if not _is_name(name):
            raise ContractViolation(
                f"{shown(name)} names no header: use letters, digits and hyphens, and no blank or colon"
            )
        if not _is_line(value):
            raise ContractViolation(
                f"the header {name!r} is no line of printable ASCII: look for a line break at its end"
            )
    return MappingProxyType(dict(values))


def _is_name(name: object) -> bool:
    return (
        isinstance(name, str)
        and name != ""
        and all(c.isascii() and (c.isalnum() or c in _OF_NAMES) for c in name)
    )


def _is_line(value: object) -> bool:
    return isinstance(value, str) and value.isascii() and value.isprintable()


def _named(owner: object, field: attrs.Attribute[Any]) -> str:
    return f"{field.name} of {type(owner).__name__}"
