"""
One answer at a time.

A request that is made while an answer is being given waits for its end, as the provider would refuse it.
What was asked for and isn't finished is owed, and a new connection is asked for it once more.
"""

from __future__ import annotations

from collections import deque

import attrs

from realtime_async.errors import ProviderFailure, RetryClassification
from realtime_async.ports import RealtimeResponseId, safe_id_fragment

__all__ = ["Answer", "Answers", "PendingCall", "Request"]


@attrs.define
class Request:
    """An answer that was asked for."""

    event_id: str
    number: int | None
    """The input frame that asked; None: the provider was to answer by itself."""
    instructions: str | None = attrs.field(default=None, repr=False)
    is_about_results: bool = False
    """It came right after what a tool returned, and asks for no more than to go on."""
    is_overtaken: bool = False
    """This connection was given another result after it."""
    refusals: int = 0


@attrs.define
class PendingCall:
    """A tool call while the model writes it."""

    call_id: str
    name: str
    arguments: str = attrs.field(default="", repr=False)
    is_whole: bool = False

    # A longer one is cut, and so is no JSON any more.
    CHARACTERS = 2**20

    def write(self, text: str) -> None:
        self.arguments = (self.arguments + text)[: self.CHARACTERS]


@attrs.define(eq=False)
class Answer:
    """One that the provider has begun."""

    wire_id: str
    """As the provider calls it."""
    response_id: RealtimeResponseId
    connection: int
    """The connection that gave it, by its number."""
    request: Request | None
    """None: the provider answers by itself."""
    questions: tuple[str, ...] = ()
    """The keys of what was said, and unanswered, when it began."""
    is_stopped: bool = False
    """It was cut off by somebody, and is not owed any more."""
    is_silenced: bool = False
    """Nobody is to hear it any more."""
    is_cut: bool = False
    """The provider was told how much of it was heard."""
    item_ids: list[str] = attrs.field(factory=list)
    """Of its speech and text, in order."""
    audio_bytes: dict[str, int] = attrs.field(factory=dict)
    """What was received of each item."""
    calls: dict[str, PendingCall] = attrs.field(factory=dict)
    """Tool calls, by item, until the program is told of them."""
    called: set[str] = attrs.field(factory=set)
    """The tool calls that the program was told of."""

    # More items than this in one answer are no conversation.
    ITEMS = 64


class Answers:
    """What is asked for, being given, and was given last."""

    WAITING = 32
    # A request that is refused more often, though no answer is being given, is given up.
    REFUSALS = 3
    # Whose late audio and whose end still mean something.
    RECENT = 8
    # Whose ids no other answer is given.
    NAMED = 256

    def __init__(self) -> None:
        self.active: Answer | None = None
        self.last: Answer | None = None
        """The last one that was begun, finished or not."""
        self._asked: deque[Request] = deque()
        self._waiting: deque[Request] = deque()
        self.is_due = False
        """Whether the provider was to answer by itself, and hasn't begun."""
        self.connection = 1
        """The number of the present connection."""
        self.cut_off: Answer | None = None
        """The one that was being given when the connection ended; None: none was, or another connection stands."""
        self._left_behind: deque[Request] = deque()
        self._was_due = False
        self._recent: deque[Answer] = deque(maxlen=self.RECENT)
        self._named: deque[str] = deque(maxlen=self.NAMED)
        self._known: deque[int] = deque(maxlen=self.WAITING)
        self._calling: Answer | None = None
        self._open_calls: set[str] = set()
        """Of the answer that called tools last, the calls that have no result."""
        self._has_result = False

    @property
    def is_busy(self) -> bool:
        """Whether a request would be refused now."""
        return self.active is not None or bool(self._asked)

    # Requests

    def check_room(self) -> None:
        """
        Raises:
            ProviderFailure: Too many requests wait.
        """
        if len(self._waiting) >= self.WAITING:
            raise ProviderFailure(
                f"{self.WAITING} requests wait for the end of an answer: wait for ResponseDone before the next one",
                code="too_many_requests",
                retry=RetryClassification.NOT_RETRYABLE,
            )

    def goes_at_once(self, instructions: str | None) -> bool:
        """Whether the provider is free for a request with *instructions* that is made now."""
        return not self.is_busy and not (self._asks_to_go_on(instructions) and self._open_calls)

    def ask(self, request: Request) -> None:
        """*request* was sent, where the provider is free, and waits otherwise."""
        if request.number is not None:
            self._known.append(request.number)
        goes_at_once = self.goes_at_once(request.instructions)
        request.is_about_results = self._asks_to_go_on(request.instructions)
        self._has_result = False
        pending = (*self._sent(), *self._waiting)
        same = (each for each in pending if each.is_about_results and not each.is_overtaken)
        if request.is_about_results and (other := next(same, None)) is not None:
            # One answer is enough to all that the tools of an answer returned.
            other.number = request.number
            return
        (self._asked if goes_at_once else self._waiting).append(request)

    def _asks_to_go_on(self, instructions: str | None) -> bool:
        return self._has_result and instructions is None

    def has_frame(self, number: int) -> bool:
        """Whether frame *number* asked for an answer already."""
        return number in self._known

    def next_due(self) -> Request | None:
        """Take the next request that may be sent now."""
        if self.is_busy:
            return None
        due = (each for each in self._waiting if not (each.is_about_results and self._open_calls))
        request = next(due, None)
        if request is not None:
            self._waiting.remove(request)
            self._asked.append(request)
        return request

    def refused(self, event_id: str | None) -> bool:
        """
        The request *event_id* came too early; None: the oldest one did.

        Returns:
            Whether it waits for its turn; otherwise it is given up, or there is none.
        """
        request = self._take_asked(event_id)
        if request is None:
            return False
        if self.active is None:
            request.refusals += 1
        if request.refusals >= self.REFUSALS:
            return False
        self._ask_anew([request])
        return True

    def _ask_anew(self, requests: list[Request]) -> None:
        """Let *requests* be asked before anything that waits: they are about all results that were given meanwhile."""
        for request in requests:
            request.is_overtaken = False
        self._waiting.extendleft(reversed(requests))
        about_results = [request for request in self._waiting if request.is_about_results]
        for request in about_results[1:]:
            about_results[0].number = request.number
            self._waiting.remove(request)

    def failed(self, event_id: str | None) -> bool:
        """The provider will not do the request *event_id*; False: there is none."""
        return event_id is not None and self._take_asked(event_id) is not None

    def _take_asked(self, event_id: str | None) -> Request | None:
        for request in self._asked:
            if event_id in {None, request.event_id}:
                self._asked.remove(request)
                return request
        active = self.active
        if active is not None and active.request is not None and active.request.event_id == event_id:
            # What was taken for its answer is one that the provider began by itself.
            request, active.request = active.request, None
            return request
        return None

    # Tool calls

    @property
    def waits_for_results(self) -> bool:
        """Whether a request waits for nothing but the results of tools."""
        return bool(self._waiting and self._open_calls and not self.is_busy) and any(
            request.is_about_results for request in self._waiting
        )

    def expect_no_results(self) -> None:
        """Let requests go out without the results that are missing."""
        self._open_calls.clear()

    def called(self, answer: Answer, call_id: str) -> None:
        """The program was told of the tool call *call_id* of *answer*."""
        answer.called.add(call_id)
        if answer is not self._calling:
            self._calling = answer
            self._open_calls.clear()
        self._open_calls.add(call_id)

    def passed(self, call_id: str | None) -> None:
        """What a request comes after, sent or known already: the result of *call_id*; None: anything else."""
        self._has_result = call_id is not None

    def given(self, call_id: str | None) -> None:
        """The program put something into the conversation: the result of *call_id*; None: anything else."""
        self.passed(call_id)
        if call_id is None:
            return
        self._open_calls.discard(call_id)
        for request in self._sent():
            request.is_overtaken = True

    def _sent(self) -> tuple[Request, ...]:
        """The requests that the provider has, and has not answered to the end."""
        begun = None if self.active is None else self.active.request
        return tuple(self._asked) if begun is None else (begun, *self._asked)

    # Answers

    def began(self, wire_id: str, questions: tuple[str, ...]) -> Answer:
        """The provider begins an answer: the one that was asked for first, where one was."""
        request = self._asked.popleft() if self._asked else None
        # An answer answers all that was said before it.
        self.is_due = False
        answer = Answer(wire_id, self._id_of(wire_id), self.connection, request, questions)
        self.active = self.last = answer
        self._recent.append(answer)
        self._named.append(answer.response_id)
        return answer

    def _id_of(self, wire_id: str) -> RealtimeResponseId:
        """A server that counts anew on every connection must not make two answers one."""
        response_id = safe_id_fragment(wire_id)
        if response_id in self._named:
            response_id = f"{response_id}.c{self.connection}"
        return RealtimeResponseId(response_id)

    def find(self, wire_id: str) -> Answer | None:
        """The answer that this connection calls *wire_id*; None: it is new, or long over."""
        active = self.active
        if active is not None and active.wire_id == wire_id:
            return active
        return next((a for a in self._recent if a.wire_id == wire_id and self.is_here(a)), None)

    def is_here(self, answer: Answer) -> bool:
        """Whether the present connection gave *answer*."""
        return answer.connection == self.connection

    def named(self, response_id: str | None) -> Answer | None:
        """The answer *response_id*; None: the one that was begun last."""
        if response_id is None:
            return self.last
        return next((answer for answer in self._recent if answer.response_id == response_id), None)

    def ended(self, answer: Answer) -> None:
        if self.active is answer:
            self.active = None

    def interrupted(self) -> None:
        """The person speaks: the provider stops its answer, and answers what is said next."""
        self.is_due = False
        if self.active is not None:
            self.active.is_stopped = True

    # A new connection

    def disconnected(self) -> Answer | None:
        """
        The connection is gone, and the answer with it.

        Returns:
            The answer that was cut off; None: none was being given.
        """
        cut, self.active = self.active, None
        self.cut_off = cut or self.cut_off
        self._left_behind.extend(self._asked)
        self._was_due = self._was_due or self.is_due
        self._asked.clear()
        self.is_due = False
        self.connection += 1
        return cut

    @property
    def is_owed_again(self) -> bool:
        """Whether the answer that was cut off is to be given once more: nobody stopped it, and no tool will go on."""
        return self.cut_off is not None and not self.cut_off.is_stopped and not self.cut_off.called

    def forget_owed(self) -> None:
        """Nobody wants the answers any more that were asked for and hadn't begun when the connection ended."""
        self._left_behind.clear()
        self._was_due = False

    def reconnected(self) -> None:
        """Another connection stands: what is owed is asked for before anything that waits."""
        owed: list[Request] = []
        if self.cut_off is not None and self.is_owed_again:
            owed.append(self.cut_off.request or Request("", None))
        owed += self._left_behind
        if self._was_due and not owed:
            owed.append(Request("", None))
        self.cut_off = None
        self.forget_owed()
        self._ask_anew(owed)

    def leave_to_replay(self, numbers: set[int | None]) -> None:
        """The requests of the frames *numbers* come again, after what they ask about; None: those without one do."""
        self._waiting = deque(request for request in self._waiting if request.number not in numbers)
        self._known = deque((n for n in self._known if n not in numbers), maxlen=self.WAITING)

    def waiting_numbers(self) -> set[int | None]:
        return {request.number for request in self._waiting}
