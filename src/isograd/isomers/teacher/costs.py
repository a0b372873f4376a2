"""Tokens and money: estimates before a call, accounts after it, and a limit that is never exceeded."""

from __future__ import annotations

import json
import re
from collections.abc import Iterable
from dataclasses import dataclass

from isograd.common.errors import UserError
from isograd.isomers.teacher.messages import Request

__all__ = [
    "BudgetSpent",
    "Estimate",
    "Prices",
    "Reservation",
    "Spending",
    "estimate",
    "estimate_tokens",
    "prompt_estimate",
]


class BudgetSpent(UserError):  # noqa: N818
    """The next call could cost more than is left of ``--max-cost``. It was not made."""


@dataclass(frozen=True)
class Prices:
    """What the teacher costs, in any one currency, per million tokens. A server of one's own costs nothing."""

    prompt_per_million: float = 0.0
    completion_per_million: float = 0.0

    def __post_init__(self) -> None:
        for name, price in vars(self).items():
            if not 0 <= price < float("inf"):
                raise UserError(f"price {name} is {price}: give what a million tokens cost, 0 or more")

    def cost(self, prompt_tokens: float, completion_tokens: float) -> float:
        """The price of a call."""
        return (prompt_tokens * self.prompt_per_million + completion_tokens * self.completion_per_million) / 1e6


_LETTERS = re.compile("[A-Za-z]")
_DIGITS = re.compile("[0-9]")
_BLANKS = re.compile("[ \t\r\n]")
_WIDE = re.compile(r"[^\x00-\x7f]")
_PER_MESSAGE = 4
_TEMPLATE = 128
"""Tokens that a chat template may add by itself: role marks and a default system prompt."""


def estimate_tokens(text: str) -> float:
    """Tokens of a text, without its tokenizer.

    A rule of thumb for byte-pair vocabularies of 30 000 to 250 000 entries: 0.25 a letter (English words take 1.2 to
    1.4), 1 a digit, 0.1 a blank, 0.5 for other ASCII, 0.75 for anything else. Right within about a third for prose,
    JSON and CJK; :class:`Spending` corrects it by what the server reports.
    """
    letters, digits, blanks, wide = (len(kind.findall(text)) for kind in (_LETTERS, _DIGITS, _BLANKS, _WIDE))
    other = len(text) - letters - digits - blanks - wide
    return 0.25 * letters + digits + 0.1 * blanks + 0.75 * wide + 0.5 * other


def prompt_estimate(request: Request) -> float:
    """Tokens of a request's messages and schema by :func:`estimate_tokens`."""
    texts = _texts(request)
    return sum(map(estimate_tokens, texts)) + _PER_MESSAGE * len(texts)


def _texts(request: Request) -> list[str]:
    texts = [message.content for message in request.messages]
    return texts if request.schema is None else [*texts, json.dumps(request.schema, default=dict)]


@dataclass(frozen=True)
class Reservation:
    """Money set aside for a call under way."""

    prompt_tokens: int
    completion_tokens: int
    cost: float
    estimated_prompt: float


class Spending:
    """The account of a run: tokens, money, and what calls under way could still cost.

    Every call is reserved at its upper bound before it is made and settled at its usage after it, so that money spent
    never exceeds ``max_cost``, whatever the concurrency. One client
    uses an account at a time.

    The bound of a prompt is its UTF-8 bytes (a byte-level vocabulary cannot need more tokens) with room for the chat
    template; after three settled calls the estimate times the worst ratio seen, plus a tenth, where that is less.

    Args:
        prices: what the teacher costs.
        max_cost: the most to spend, ``None`` for no limit.
        spent: what earlier runs of the same journal spent; it counts towards ``max_cost``.

    Attributes:
        calls: settled calls.
        prompt_tokens: of the settled calls.
        completion_tokens: of the settled calls.
        uncertain_calls: calls that broke off, which the server may or may not charge; they count at their upper bound.
        cost: spent so far, ``spent`` included.

    Raises:
        UserError: ``max_cost`` is negative or no number.
    """

    def __init__(self, prices: Prices | None = None, max_cost: float | None = None, spent: float = 0.0) -> None:
        if max_cost is not None and not max_cost >= 0:
            raise UserError(f"max_cost is {max_cost}: give the most to spend, 0 or more")
        self.prices = prices or Prices()
        self.max_cost = max_cost
        self.calls = self.prompt_tokens = self.completion_tokens = self.uncertain_calls = 0
        self.cost = spent
        self._reserved = 0.0
        self._under_way = 0
        self._estimated = 0.0
        self._reported = 0
        self._worst = 0.0
        self._calibrated = 0

    @property
    def ratio(self) -> float:
        """Reported prompt tokens per estimated one so far; 1 before the first report."""
        return self._reported / self._estimated if self._estimated else 1.0

    def reserve(self, request: Request) -> Reservation:
        """Set aside the most that a call can cost.

        Raises:
            BudgetSpent: the call could exceed what is left beside the calls under way.
        """
        guess = prompt_estimate(request)
        most = sum(len(text.encode("utf-8", "replace")) for text in _texts(request))
        most += 4 * _PER_MESSAGE * len(request.messages) + _TEMPLATE
        if self._calibrated >= 3:
            most = min(most, int(guess * self._worst * 1.1) + 1)
        cost = self.prices.cost(most, request.max_tokens)
        if self.max_cost is not None and self.cost + self._reserved + cost > self.max_cost:
            left = self.max_cost - self.cost
            raise BudgetSpent(
                f"the next call could cost {cost:.4f}, and of max_cost {self.max_cost:g} only {left:.4f} is left,"
                f" {self._reserved:.4f} of it set aside for calls under way: raise --max-cost to go on"
            )
        self._reserved += cost
        self._under_way += 1
        return Reservation(most, request.max_tokens, cost, guess)

    @property
    def under_way(self) -> int:
        """Calls that are reserved and not yet booked; a refused call may be affordable once they are."""
        return self._under_way

    def settle(
        self, reservation: Reservation, prompt_tokens: int, completion_tokens: int, reported: bool = True
    ) -> None:
        """Book a call that was answered.

        Args:
            reservation: of the call.
            prompt_tokens: used.
            completion_tokens: used.
            reported: whether the prompt's count is the server's, which calibrates the estimate.
        """
        self._free(reservation)
        self.calls += 1
        self.prompt_tokens += prompt_tokens
        self.completion_tokens += completion_tokens
        self.cost += self.prices.cost(prompt_tokens, completion_tokens)
        if reported and prompt_tokens > 0 and reservation.estimated_prompt > 0:
            self._calibrated += 1
            self._estimated += reservation.estimated_prompt
            self._reported += prompt_tokens
            self._worst = max(self._worst, prompt_tokens / reservation.estimated_prompt)

    def release(self, reservation: Reservation) -> None:
        """Free the money of a call that the server refused."""
        self._free(reservation)

    def forfeit(self, reservation: Reservation) -> None:
        """Book a call that broke off at its upper bound, since the server may charge it."""
        self._free(reservation)
        self.uncertain_calls += 1
        self.cost += reservation.cost

    def _free(self, reservation: Reservation) -> None:
        self._under_way -= 1
        self._reserved = max(self._reserved - reservation.cost, 0.0) if self._under_way else 0.0


@dataclass(frozen=True)
class Estimate:
    """What a dry run foretells. Estimates add up, and scale by :meth:`times`.

    Attributes:
        calls: number of calls, retries left out.
        prompt_tokens: estimated.
        completion_tokens: expected where earlier replies tell, else the most.
        most_completion_tokens: if every answer takes its ``max_tokens``.
        cost: of the expected tokens.
        most_cost: if every answer takes its ``max_tokens``.
    """

    calls: int = 0
    prompt_tokens: int = 0
    completion_tokens: int = 0
    most_completion_tokens: int = 0
    cost: float = 0.0
    most_cost: float = 0.0

    def __add__(self, other: Estimate) -> Estimate:
        return Estimate(*(mine + its for mine, its in zip(vars(self).values(), vars(other).values(), strict=True)))

    def times(self, number: int) -> Estimate:
        """The same calls ``number`` times."""
        return Estimate(*(part * number for part in vars(self).values()))

    def __str__(self) -> str:
        return (
            f"{self.calls} calls, about {self.prompt_tokens} prompt tokens and {self.completion_tokens} completion"
            f" tokens (at most {self.most_completion_tokens}), price about {self.cost:.4f}"
            f" (at most {self.most_cost:.4f})"
        )


def estimate(
    calls: Iterable[Request], spending: Spending | None = None, completion_tokens: float | None = None
) -> Estimate:
    """Foretell calls, tokens and price without a call.

    Args:
        calls: the requests; where a stage's prompts depend on earlier answers, a typical one scaled by
            :meth:`Estimate.times`.
        spending: prices, and what earlier calls taught about prompts and answers.
        completion_tokens: expected tokens of an answer; where ``None``, the mean of ``spending`` so far, else the most.
    """
    account = spending or Spending()
    if completion_tokens is None and account.calls:
        completion_tokens = account.completion_tokens / account.calls
    number = most = 0
    prompt = expected = 0.0
    for call in calls:
        number += 1
        prompt += prompt_estimate(call) * account.ratio
        most += call.max_tokens
        expected += call.max_tokens if completion_tokens is None else min(completion_tokens, call.max_tokens)
    cost = account.prices.cost
    return Estimate(number, round(prompt), round(expected), most, cost(prompt, expected), cost(prompt, most))
