"""What answers cost, in the provider's tokens."""

from __future__ import annotations

import attrs

__all__ = ["NOTHING_TOLD", "ResponseUsage", "UsageTold", "countable"]


@attrs.frozen
class ResponseUsage:
    """What an answer cost, in the provider's tokens, by modality; None where it doesn't say."""

    input_text_tokens: int | None = None
    input_audio_tokens: int | None = None
    cached_tokens: int | None = None
    output_text_tokens: int | None = None
    output_audio_tokens: int | None = None


@attrs.frozen
class UsageTold:
    """What the answers cost whose end was received, as the provider told."""

    answers: int = 0
    """So many said what they cost."""
    answers_untold: int = 0
    """So many did not, those among them that a lost connection cut off; the provider may bill them all the same."""
    tokens: ResponseUsage = ResponseUsage()
    """The sums; None where no answer said anything of a modality."""

    def plus(self, usage: ResponseUsage) -> UsageTold:
        """Return the same with one answer more."""
        if usage == _UNTOLD:
            return attrs.evolve(self, answers_untold=self.answers_untold + 1)
        sums = (_sum(getattr(self.tokens, name), getattr(usage, name)) for name in _NAMES)
        return UsageTold(self.answers + 1, self.answers_untold, ResponseUsage(*sums))


NOTHING_TOLD = UsageTold()

# Beyond it a number is no count of tokens, and not every reader of JSON keeps it.
_MOST = 2**53


def countable(usage: ResponseUsage | None) -> ResponseUsage:
    """Return *usage* as it may be recorded: what is no count is left out, as a provider may say anything."""
    if usage is None:
        return _UNTOLD
    return ResponseUsage(*(_count(getattr(usage, name)) for name in _NAMES))


def _count(value: object) -> int | None:
    return value if type(value) is int and 0 <= value < _MOST else None


def _sum(sum_so_far: int | None, value: int | None) -> int | None:
    return sum_so_far if value is None else value + (sum_so_far or 0)


_UNTOLD = ResponseUsage()
_NAMES = tuple(field.name for field in attrs.fields(ResponseUsage))
