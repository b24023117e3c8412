"""
From what was heard to what is said.

A brain is any function from text to an awaitable text, or to an async iterator of pieces of it.
"""

from __future__ import annotations

import re
from collections.abc import AsyncGenerator, AsyncIterator, Awaitable, Callable
from contextlib import aclosing

from realtime_async.adapters.local.voice import LONGEST_TEXT

__all__ = ["COMMANDS", "Brain", "answer_command", "spoken_sentences"]

Brain = Callable[[str], Awaitable[str] | AsyncIterator[str]]

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


async def answer_command(heard: str) -> str:
    """A small brain that works without a network: it answers `COMMANDS`, and what resembles them."""
    words = set(heard.lower().replace(".", "").split()) or {"hello"}
    if "table" in words:
        size = next((size for size in _TABLE_SIZES if size in words), None)
        return (
            f"A table for {size} is booked. See you tonight!"
            if size
            else "A table for how many? I have tables for two to five."
        )
    for word, answer in _ANSWERS.items():
        if word in words:
            return answer
    return "I did not understand that. Ask me what I can do."


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
_SENTENCE = re.compile(r"\s*(.+?[.!?:;])\s+", re.DOTALL)


async def spoken_sentences(reply: Awaitable[str] | AsyncIterator[str]) -> AsyncGenerator[str, None]:
    """Yield *reply* sentence by sentence, each as soon as it is whole, so that speech can begin before the reply ends."""
    text = ""
    async with aclosing(_pieces(reply)) as pieces:
        async for piece in pieces:
            text += piece
            while (found := _SENTENCE.match(text)) is not None:
                for part in _speakable(found[1]):
                    yield part
                text = text[found.end() :]
            while len(text) > LONGEST_TEXT:
                part, text = _cut(text)
                yield part
    for part in _speakable(text.strip()):
        yield part


async def _pieces(reply: Awaitable[str] | AsyncIterator[str]) -> AsyncGenerator[str, None]:
    if isinstance(reply, Awaitable):
        yield await reply
        return
    try:
        async for piece in reply:
            yield piece
    finally:
        if isinstance(reply, AsyncGenerator):
            await reply.aclose()


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
