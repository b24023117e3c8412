"""
From what was heard to what is said.

A brain is any function from text to an awaitable text, or to an async iterator of pieces of it.
An async generator may also yield a `CallTool`, and is sent what came of it.
"""

from __future__ import annotations

import json
import re
from collections.abc import AsyncGenerator, AsyncIterator, Awaitable, Callable
from contextlib import aclosing

import attrs

from realtime_async.adapters.local.voice import LONGEST_TEXT

__all__ = ["COMMANDS", "Brain", "CallTool", "Reply", "answer_command", "spoken_sentences"]


@attrs.frozen
class CallTool:
    """Yielded by a brain that wants the program to do something: `result = yield CallTool("book_table", ...)`."""

    name: str
    arguments: str = attrs.field(default="{}", repr=False)
    """JSON text."""


Reply = Awaitable[str] | AsyncIterator[str] | AsyncGenerator[str | CallTool, str | None]
"""
A generator is sent, for each `CallTool`, the text of its result.

None where the program offers no such tool, or gave no result in time.
"""

Brain = Callable[[str], Reply]
"""Takes what was heard and gives the answer: whole, when awaited, or piece by piece, each spoken as it comes."""

UseTool = Callable[[CallTool], Awaitable[str | None]]

_TABLE_SIZES = ("two", "three", "four", "five")

COMMANDS = (
    "what can you do",
    "how is the weather",
    "how is the weather today",
    "tell me a joke",
    "tell me another joke",
    "thank you",
    "thank you very much",
    "hello",
    "goodbye",
    *(f"book a table for {size}" for size in _TABLE_SIZES),
    *(f"please book a table for {size} people" for size in _TABLE_SIZES),
)
"""What `answer_command` understands, as people say it."""


async def answer_command(heard: str) -> AsyncGenerator[str | CallTool, str | None]:
    """
    A small brain that works without a network: it answers `COMMANDS`, and what resembles them.

    It books a table with the tool `book_table(people)`, and says what that returns; without one it pretends.
    """
    words = set(re.findall(r"[\w']+", heard.lower())) or {"hello"}
    if "table" not in words:
        yield next(
            (answer for word, answer in _ANSWERS.items() if word in words),
            "I did not understand that. Ask me what I can do.",
        )
        return
    size = next((size for size in _TABLE_SIZES if size in words), None)
    if size is None:
        yield "A table for how many? I have tables for two to five."
        return
    booked = yield CallTool("book_table", json.dumps({"people": _TABLE_SIZES.index(size) + 2}))
    yield f"A table for {size} is booked. See you tonight!" if booked is None else booked


_ANSWERS = {
    "can": "I can book a table, tell you about the weather, and tell a joke.",
    "weather": "It is sunny here. It always is, inside a computer.",
    "another": "There are two hard things in computing: naming things, and off by one errors.",
    "joke": "Why did the microphone go to school? It wanted to be heard.",
    "goodbye": "Goodbye! It was nice talking to you.",
    "thank": "You are welcome.",
    "hello": "Hello! What can I do for you?",
    "greet": "Hello! What can I do for you?",
}

# Enough to sound like one sentence; a decimal point or an abbreviation in it does no harm.
# What it is held against begins with no space: of a page of them it would try every part.
_SENTENCE = re.compile(r"(.+?[.!?:;])\s+", re.DOTALL)


async def _no_tools(request: CallTool) -> str | None:
    return None


async def spoken_sentences(reply: Reply, use_tool: UseTool = _no_tools) -> AsyncGenerator[str, None]:
    """
    Yield *reply* sentence by sentence, each as soon as it is whole, so that speech can begin before the reply ends.

    What was said before a tool is called is yielded before it is.
    """
    text = ""
    async with aclosing(_pieces(reply, use_tool)) as pieces:
        async for piece in pieces:
            if piece is None:
                for part in _speakable(text.strip()):
                    yield part
                text = ""
                continue
            text = (text + piece).lstrip()
            while (found := _SENTENCE.match(text)) is not None:
                for part in _speakable(found[1]):
                    yield part
                text = text[found.end() :]
            while len(text) > LONGEST_TEXT:
                part, text = _cut(text)
                yield part
    for part in _speakable(text.strip()):
        yield part


async def _pieces(reply: Reply, use_tool: UseTool) -> AsyncGenerator[str | None, None]:
    """The pieces of *reply*, and None before each tool that it calls."""
    if isinstance(reply, Awaitable):
        yield await reply
        return
    # What iterates over it may be a generator, though *reply* is none.
    saying = reply if isinstance(reply, AsyncGenerator) else aiter(reply)
    if not isinstance(saying, AsyncGenerator):
        async for piece in saying:
            yield piece
        return
    async with aclosing(saying):
        result = None
        while True:
            try:
                said = await saying.asend(result)
            except StopAsyncIteration:
                return
            result = None
            if isinstance(said, CallTool):
                yield None
                result = await use_tool(said)
            else:
                yield said


def _speakable(text: str) -> list[str]:
    parts = []
    while len(text) > LONGEST_TEXT:
        part, text = _cut(text)
        parts.append(part)
    return [*parts, text] if text else parts


def _cut(text: str) -> tuple[str, str]:
    """The longest part of *text* that is spoken in one go, between words where there are any; and the rest."""
    end = text.rfind(" ", 1, LONGEST_TEXT + 1)
    end = LONGEST_TEXT if end < 0 else end
    return text[:end], text[end:].lstrip()
