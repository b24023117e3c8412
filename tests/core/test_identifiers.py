"""Ids are checked once, where they enter, and fragments of foreign text fit into them."""

from __future__ import annotations

import enum
import re
import subprocess
import sys
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from realtime_async._core import identifiers
from realtime_async._core.identifiers import (
    AgentId,
    ContentRef,
    EffectId,
    Identifier,
    PolicyRef,
    RealtimeConnectionId,
    RealtimeFrameId,
    RealtimeResponseId,
    RealtimeSessionId,
    RunId,
    safe_id_fragment,
)
from realtime_async.errors import ContractViolation, InvalidIdentifier

IDENTIFIERS: list[type[Identifier]] = [
    RunId, AgentId, RealtimeSessionId, RealtimeConnectionId, RealtimeResponseId,
    RealtimeFrameId, EffectId, PolicyRef, ContentRef,
]  # fmt: skip
ALPHABET = "ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789._:-"
FIT = re.compile(r"[A-Za-z0-9._:-]{1,200}")


@pytest.mark.parametrize("kind", IDENTIFIERS)
@given(text=st.text(ALPHABET, min_size=1, max_size=256))
def test_an_identifier_is_the_text_that_it_was_made_of(kind: type[Identifier], text: str) -> None:
    identifier = kind(text)

    assert identifier == text
    assert isinstance(identifier, str)
    assert hash(identifier) == hash(text)


@pytest.mark.parametrize("kind", IDENTIFIERS)
@pytest.mark.parametrize(
    "text", ["", " ", "a b", "a\n", "\na", "a/b", "ä", "a\x00", "a" * 257, "٣", "a\u2028"], ids=ascii
)
def test_what_is_not_of_the_alphabet_is_refused(kind: type[Identifier], text: str) -> None:
    with pytest.raises(InvalidIdentifier, match=kind.__name__) as refusal:
        kind(text)

    assert isinstance(refusal.value, ContractViolation)


@given(text=st.text())
def test_an_identifier_exists_exactly_where_the_alphabet_and_the_length_allow_it(text: str) -> None:
    legal = 0 < len(text) <= 256 and set(text) <= set(ALPHABET)

    try:
        RunId(text)
    except InvalidIdentifier:
        assert not legal
    else:
        assert legal


@pytest.mark.parametrize("value", [None, 7, b"run", ["run"]])
def test_an_identifier_is_made_of_text_only(value: object) -> None:
    with pytest.raises(InvalidIdentifier, match=type(value).__name__):
        RunId(value)  # type: ignore[arg-type]  # what an untyped caller does


def test_an_identifier_made_of_its_own_kind_is_the_same_object() -> None:
    run_id = RunId("run-1")

    assert RunId(run_id) is run_id


def test_an_identifier_made_of_another_kind_takes_its_own() -> None:
    run_id = RunId("one")

    assert type(AgentId(run_id)) is AgentId


class _Desk(str, enum.Enum):  # noqa: UP042 - unlike a StrEnum its text is not what str() says of it
    FRONT = "front"


class _Shy(str):
    """Says another text of itself than it is."""

    __slots__ = ()

    def __str__(self) -> str:
        return "not an identifier!"


OF_ANOTHER_KIND = [_Desk.FRONT, _Shy("front")]


@pytest.mark.parametrize("kind", IDENTIFIERS)
@pytest.mark.parametrize("text", OF_ANOTHER_KIND, ids=lambda text: type(text).__name__)
def test_an_identifier_is_the_text_that_was_checked_whatever_that_calls_itself(
    kind: type[Identifier], text: str
) -> None:
    identifier = kind(text)

    assert identifier == "front"
    assert f"{identifier}" == str(identifier) == "front"


@pytest.mark.parametrize("text", OF_ANOTHER_KIND, ids=lambda text: type(text).__name__)
def test_a_fragment_is_made_of_a_text_whatever_that_calls_itself(text: str) -> None:
    assert f"{safe_id_fragment(text)}" == "front"


def test_the_message_shows_only_the_beginning_of_a_long_text() -> None:
    with pytest.raises(InvalidIdentifier) as refusal:
        RunId("x" * 10_000)

    assert "10000 characters" in str(refusal.value)
    assert len(str(refusal.value)) < 300


def test_a_repr_names_the_kind() -> None:
    assert repr(RunId("run-1")) == "RunId('run-1')"


@given(text=st.text(max_size=400))
def test_a_fragment_always_fits_into_an_id(text: str) -> None:
    assert FIT.fullmatch(safe_id_fragment(text))


@given(text=st.text(max_size=400))
def test_a_fragment_is_stable(text: str) -> None:
    assert safe_id_fragment(text) == safe_id_fragment(text)


@pytest.mark.parametrize("value", [None, 5, b"desk"])
def test_a_fragment_is_made_of_text_alone(value: Any) -> None:
    with pytest.raises(InvalidIdentifier, match="a fragment of an id is made of a str, not of"):
        safe_id_fragment(value)


def test_a_fragment_is_the_same_in_another_process() -> None:
    program = (
        "from realtime_async._core.identifiers import safe_id_fragment as f; print(f('zwölf Boxkämpfer'))"
    )

    output = subprocess.run(
        [sys.executable, "-c", program], check=True, capture_output=True, text=True
    ).stdout

    assert output.strip() == safe_id_fragment("zwölf Boxkämpfer")


@given(text=st.text(ALPHABET, min_size=1, max_size=150))
def test_a_text_that_fits_already_stays_as_it_is(text: str) -> None:
    assert safe_id_fragment(text) == text or re.search(r"\.h[0-9a-f]{12}$", text)


@given(texts=st.lists(st.text(alphabet="ab é/", max_size=6), unique=True, max_size=60))
def test_distinct_texts_have_distinct_fragments(texts: list[str]) -> None:
    assert len({safe_id_fragment(text) for text in texts}) == len(texts)


@given(text=st.text(max_size=250))
def test_a_text_that_looks_like_a_fragment_has_another_one(text: str) -> None:
    fragment = safe_id_fragment(text)

    again = safe_id_fragment(fragment)

    assert (again == fragment) == (fragment == text)


@pytest.mark.parametrize("text", ["", "a b", "x" * 201, "\ud800"], ids=ascii)
def test_what_was_changed_bears_a_hash(text: str) -> None:
    assert re.search(r"\.h[0-9a-f]{12}\Z", safe_id_fragment(text))


def test_a_text_of_200_characters_is_not_too_long() -> None:
    assert safe_id_fragment("x" * 200) == "x" * 200


def test_every_name_that_the_module_offers_exists() -> None:
    assert [name for name in identifiers.__all__ if not hasattr(identifiers, name)] == []
