"""What a provider is told of a function of the program."""

from __future__ import annotations

from collections.abc import Callable
from datetime import date
from functools import partial
from typing import Annotated, Any, Literal

import pytest

from realtime_async.adapters.gemini import FunctionDeclaration, GeminiLiveConfig, ToolBehavior
from realtime_async.adapters.openai import FunctionTool, OpenAIRealtimeConfig
from realtime_async.errors import ContractViolation


async def book_table(
    people: Annotated[int, "How many will come."],
    at: str,
    place: Literal["inside", "garden"] = "inside",
    *,
    name: str | None = None,
    wishes: list[str] = [],  # noqa: B006 - as a user might write it
    more: dict[str, float] | None = None,
    anything: Any = None,
) -> str:
    """
    Book a table
    at the restaurant.

    What stands here is for whoever reads the program.
    """
    return f"{people}, {at}, {place}, {name}, {wishes}, {more}, {anything}"


async def hang_up() -> None:
    pass


TEXT = {"type": "string"}
PARAMETERS = {
    "type": "object",
    "properties": {
        "people": {"type": "integer", "description": "How many will come."},
        "at": TEXT,
        "place": {"type": "string", "enum": ["inside", "garden"]},
        "name": {"anyOf": [TEXT, {"type": "null"}]},
        "wishes": {"type": "array", "items": TEXT},
        "more": {"anyOf": [{"type": "object", "additionalProperties": {"type": "number"}}, {"type": "null"}]},
        "anything": {},
    },
    "required": ["people", "at"],
}


def test_a_function_is_described_by_its_name_its_docstring_and_its_annotations() -> None:
    tool = FunctionTool.of(book_table)
    declared = FunctionDeclaration.of(book_table, behavior=ToolBehavior.NON_BLOCKING)

    assert (tool.name, tool.description) == ("book_table", "Book a table at the restaurant.")
    assert tool.parameters == PARAMETERS
    assert (declared.name, declared.description) == (tool.name, tool.description)
    assert (declared.parameters, declared.behavior) == (PARAMETERS, ToolBehavior.NON_BLOCKING)


def test_one_that_takes_nothing_says_so_as_each_provider_has_it() -> None:
    assert FunctionTool.of(hang_up).wire()["parameters"]["properties"] == {}
    assert FunctionTool.of(hang_up).description == ""
    assert FunctionDeclaration.of(hang_up).parameters is None


def test_a_configuration_takes_functions_and_descriptions_side_by_side() -> None:
    by_hand = FunctionTool("forecast", "The weather.")
    openai = OpenAIRealtimeConfig(model="gpt-realtime", api_key="key", tools=[book_table, by_hand])
    gemini = GeminiLiveConfig(
        model="gemini-live", api_key="key", functions=[hang_up, FunctionDeclaration(name="x")]
    )

    assert openai.tools == (FunctionTool.of(book_table), by_hand)
    assert [function.name for function in gemini.functions] == ["hang_up", "x"]


async def typed_by_no_json(day: date) -> None: ...
async def typed_by_nothing(people) -> None: ...  # type: ignore[no-untyped-def]
async def typed_by_numbers(by: dict[int, str]) -> None: ...
async def typed_by_what_is_not_there(day: NotThere) -> None: ...  # type: ignore[name-defined]  # noqa: F821
async def by_position(people: int, /) -> None: ...
async def any_number(*people: int) -> None: ...
async def any_name(**people: int) -> None: ...
def not_async(people: int) -> None: ...


REFUSED = [
    typed_by_no_json, typed_by_nothing, typed_by_numbers, typed_by_what_is_not_there, by_position, any_number, any_name,
    not_async, partial(book_table, 2), "book_table", None,
]  # fmt: skip


@pytest.mark.parametrize("function", REFUSED, ids=lambda each: getattr(each, "__name__", repr(each)[:20]))
@pytest.mark.parametrize("declare", [FunctionTool.of, FunctionDeclaration.of], ids=["OpenAI", "Gemini"])
def test_what_cannot_be_described_is_refused_with_what_can(
    function: Any, declare: Callable[[Any], object]
) -> None:
    with pytest.raises(ContractViolation, match="describe the tool by hand"):
        declare(function)


@pytest.mark.parametrize("tools", ["book_table", 5, book_table, None], ids=lambda each: type(each).__name__)
def test_what_is_no_list_of_tools_is_refused(tools: Any) -> None:
    with pytest.raises(ContractViolation, match="put it into a list"):
        OpenAIRealtimeConfig(model="gpt-realtime", api_key="key", tools=tools)
    with pytest.raises(ContractViolation, match="put it into a list"):
        GeminiLiveConfig(model="gemini-live", api_key="key", functions=tools)
