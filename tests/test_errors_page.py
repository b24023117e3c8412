"""The page of errors leaves none out, and what a program reads there helps it on."""

from __future__ import annotations

import logging
import re
from collections.abc import Iterator
from pathlib import Path

import pytest
import structlog

from docs._ext.provoked_errors import PROVOCATIONS, Provocation, met_by, provoke
from realtime_async import errors

PAGE = Path(__file__).parent.parent / "docs" / "errors.md"

CLASSES = [
    value
    for value in vars(errors).values()
    if isinstance(value, type) and issubclass(value, errors.AgentError) and value is not errors.AgentError
]

# What an adapter says of its provider is the adapter's; those of the script only say what the script does.
SAID_BY_THE_SCRIPT = {"provider_refuses"}


@pytest.fixture(autouse=True)
def _quiet() -> Iterator[None]:
    structlog.configure(wrapper_class=structlog.make_filtering_bound_logger(logging.CRITICAL))
    yield
    structlog.reset_defaults()


@pytest.mark.parametrize("error", CLASSES, ids=lambda error: error.__name__)
def test_every_public_error_is_on_the_page(error: type[errors.AgentError]) -> None:
    assert met_by(error)
    assert f"`{error.__name__}`" in PAGE.read_text(encoding="utf-8") or is_below_one_on_the_page(error)


def is_below_one_on_the_page(error: type[errors.AgentError]) -> bool:
    text = PAGE.read_text(encoding="utf-8")
    return any(f"`{parent.__name__}` and below" in text for parent in error.__mro__)


def test_every_name_of_an_error_is_a_class_on_the_page() -> None:
    named = {name for name in errors.__all__ if issubclass(getattr(errors, name), errors.AgentError)}

    assert named == {error.__name__ for error in CLASSES} | {"AgentError"}


@pytest.mark.parametrize("provocation", PROVOCATIONS, ids=lambda it: it.name)
def test_what_the_program_did_raises_that_error(provocation: Provocation) -> None:
    error = provoke(provocation)

    assert type(error) is provocation.error
    assert error.kind == re.sub(r"(?<!^)(?=[A-Z])", "_", type(error).__name__).lower()


@pytest.mark.parametrize(
    "provocation", [it for it in PROVOCATIONS if it.name not in SAID_BY_THE_SCRIPT], ids=lambda it: it.name
)
def test_a_message_is_one_line_and_says_what_to_do_next(provocation: Provocation) -> None:
    message = provoke(provocation).message

    _, next_step = re.split(r"[:;] ", message, maxsplit=1)
    assert "\n" not in message
    assert len(next_step.split()) >= 2
