"""
What a provider is told of a function of the program: its name, what it is for, and which arguments it takes.

The model's arguments reach the function as they are, so it may be typed by what JSON has, and by nothing else.
"""

from __future__ import annotations

import inspect
import types
from collections.abc import Awaitable, Callable, Mapping
from typing import Annotated, Any, Literal, TypeVar, Union, get_args, get_origin, get_type_hints

from realtime_async.errors import ContractViolation

__all__ = ["Function", "description_of", "each_declared", "name_of", "parameters_of"]

Function = Callable[..., Awaitable[object]]

_D = TypeVar("_D")
_Json = dict[str, Any]

_NAMES: Mapping[object, str] = {
    str: "string",
    int: "integer",
    float: "number",
    bool: "boolean",
    list: "array",
    dict: "object",
    type(None): "null",
}
_BY_NAME = (inspect.Parameter.POSITIONAL_OR_KEYWORD, inspect.Parameter.KEYWORD_ONLY)


def name_of(function: object) -> str:
    """
    The name of *function*.

    Raises:
        ContractViolation: It is no async function, or has no name.
    """
    if not inspect.iscoroutinefunction(function) or not hasattr(function, "__name__"):
        raise ContractViolation(
            f"a {type(function).__name__} was given for a tool: give an async function, or describe the tool by hand"
        )
    name: str = function.__name__
    return name


def description_of(function: Function) -> str:
    """The first paragraph of its docstring, on one line."""
    return " ".join((inspect.getdoc(function) or "").partition("\n\n")[0].split())


def parameters_of(function: Function) -> _Json:
    """
    A JSON schema of the arguments of *function*, by its annotations.

    `Annotated[int, "How many will come."]` describes one.

    Raises:
        ContractViolation: One cannot be given by name, or is no JSON.
    """
    try:
        hints = get_type_hints(function, include_extras=True)
    except (NameError, TypeError):
        raise _refused(function, "annotations that cannot be resolved") from None
    parameters = inspect.signature(function).parameters.values()
    properties: dict[str, _Json] = {}
    for parameter in parameters:
        if parameter.kind not in _BY_NAME:
            raise _refused(function, f"a parameter {str(parameter)!r} that no name stands for")
        try:
            properties[parameter.name] = _schema(hints[parameter.name])
        except (KeyError, TypeError):
            raise _refused(function, f"a parameter {str(parameter)!r} that is typed by no JSON") from None
    required = [parameter.name for parameter in parameters if parameter.default is parameter.empty]
    return {"type": "object", "properties": properties, "required": required}


def _schema(hint: Any) -> _Json:
    """
    The JSON schema of a type.

    Raises:
        KeyError: JSON has none like it.
    """
    origin, arguments = get_origin(hint), get_args(hint)
    if hint is Any:
        return {}
    if origin is Annotated:
        told = [each for each in arguments[1:] if isinstance(each, str)]
        return {**_schema(arguments[0]), **({"description": told[0]} if told else {})}
    if origin is Literal:
        return {"type": _NAMES[type(arguments[0])], "enum": [*arguments]}
    if origin in (Union, types.UnionType):
        return {"anyOf": [_schema(each) for each in arguments]}
    if origin is list:
        return {"type": "array", "items": _schema(arguments[0])}
    if origin is dict and arguments[0] is str:
        return {"type": "object", "additionalProperties": _schema(arguments[1])}
    return {"type": _NAMES[hint]}


def each_declared(values: object, kind: type[_D], declare: Callable[[Function], _D]) -> tuple[_D, ...]:
    """Let *declare* describe those of *values* that are none of *kind*."""
    if isinstance(values, str) or not hasattr(values, "__iter__"):
        raise ContractViolation(
            f"a {type(values).__name__} was given for a list of tools: put it into a list"
        )
    return tuple(value if isinstance(value, kind) else declare(value) for value in values)


def _refused(function: Function, what: str) -> ContractViolation:
    return ContractViolation(
        f"the tool {name_of(function)!r} has {what}: use str, int, float, bool, list, dict, Literal, or None beside one "
        "of them, or describe the tool by hand"
    )
