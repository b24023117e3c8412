"""From what was heard to what is said."""

from __future__ import annotations

from collections.abc import AsyncGenerator, AsyncIterator
from contextlib import aclosing
from time import thread_time

import pytest

from realtime_async.adapters.local.brain import COMMANDS, answer_command, spoken_sentences
from realtime_async.adapters.local.voice import LONGEST_TEXT


async def reply(text: str) -> str:
    return text


async def sentences_of(text: str) -> list[str]:
    return [sentence async for sentence in spoken_sentences(reply(text))]


async def answered(heard: str) -> str:
    return " ".join([sentence async for sentence in spoken_sentences(answer_command(heard))])


@pytest.mark.parametrize("command", COMMANDS)
async def test_every_command_has_an_answer(command: str) -> None:
    assert "did not understand" not in await answered(command)


@pytest.mark.parametrize(
    "heard, word",
    [
        ("what can you do", "weather"),
        ("book a table for five", "five"),
        ("please book a table", "how many"),
        ("Hello? A table for two, please!", "for two"),
        ("tell me a joke", "microphone"),
        ("tell me another joke", "computing"),
        ("Greet the caller.", "Hello"),
        ("", "Hello"),
        ("colourless green ideas", "did not understand"),
    ],
)
async def test_answers_fit_the_question(heard: str, word: str) -> None:
    assert word in await answered(heard)


async def test_a_reply_is_spoken_sentence_by_sentence() -> None:
    assert await sentences_of("It is sunny.  Is it? It is 3.5 degrees!\n Bye") == [
        "It is sunny.",
        "Is it?",
        "It is 3.5 degrees!",
        "Bye",
    ]


@pytest.mark.parametrize("text", ["", "  \n"])
async def test_an_empty_reply_has_no_sentence(text: str) -> None:
    assert await sentences_of(text) == []


@pytest.mark.parametrize("text", ["word " * 1000, "x" * 5000, "word " * 500 + ". And " + "y" * 1000 + "."])
async def test_no_part_is_longer_than_what_is_spoken_in_one_go(text: str) -> None:
    parts = await sentences_of(text)

    assert max(map(len, parts)) <= LONGEST_TEXT
    assert "".join("".join(parts).split()) == "".join(text.split())


async def test_a_page_of_spaces_does_not_hold_the_event_loop() -> None:
    began = thread_time()

    assert await sentences_of(" " * 50_000 + "One") == ["One"]
    assert thread_time() - began < 1.0


async def test_a_sentence_is_spoken_before_the_reply_ends() -> None:
    written: list[str] = []

    async def write() -> AsyncIterator[str]:
        for piece in ("One. Tw", "o. Thr", "ee."):
            written.append(piece)
            yield piece

    async with aclosing(spoken_sentences(write())) as sentences:
        first = await anext(sentences)

    assert first == "One."
    assert written == ["One. Tw"]


async def test_a_reply_that_nobody_wants_any_more_is_closed() -> None:
    closed = False

    async def write() -> AsyncIterator[str]:
        nonlocal closed
        try:
            while True:
                yield "Word. "
        finally:
            closed = True

    async with aclosing(spoken_sentences(write())) as sentences:
        await anext(sentences)

    assert closed


class Written:
    """A reply that is iterated over by a generator, and is none."""

    is_closed = False

    async def __anext__(self) -> str:
        return "Word. "

    async def __aiter__(self) -> AsyncGenerator[str, None]:
        try:
            while True:
                yield await anext(self)
        finally:
            self.is_closed = True


async def test_what_iterates_over_a_reply_is_closed_with_it() -> None:
    """On Trio it would complain of being collected, somewhere and some time."""
    reply = Written()

    async with aclosing(spoken_sentences(reply)) as sentences:
        await anext(sentences)

    assert reply.is_closed
