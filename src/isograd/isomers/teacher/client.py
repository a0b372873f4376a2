"""The HTTP client of any OpenAI-compatible chat server: vLLM, llama.cpp, TGI, transformers serve, OpenAI."""

from __future__ import annotations

import asyncio
import json
import os
from collections.abc import Callable
from types import TracebackType
from typing import Any, Self

import httpx
from tenacity import AsyncRetrying, RetryCallState, retry_if_exception_type, stop_after_attempt

from isograd.common.errors import UserError
from isograd.common.seeding import named_random
from isograd.isomers.teacher.concurrency import AdaptiveLimit, Slot, retry_after_seconds
from isograd.isomers.teacher.costs import BudgetSpent, Reservation, Spending, estimate_tokens
from isograd.isomers.teacher.messages import (
    KeyRefusedError,
    Message,
    NotFoundError,
    QuotaSpentError,
    Reply,
    Request,
    RequestRefusedError,
    RequestTooLongError,
    TeacherError,
    TeacherUnavailable,
    canonical_json,
)
from isograd.isomers.teacher.wire import Dialect, address, model_names, nearest, read_completion

__all__ = ["TeacherClient", "api_key_from_environment"]

_OVERLOAD = frozenset({429, 503, 529})
_AGAIN = _OVERLOAD | {408, 500, 502, 504, 520, 522, 524}
_TOO_LONG = ("context length", "context_length", "context size", "max_new_tokens", "too long")
_CHECK_SECONDS = 15.0


def api_key_from_environment() -> str | None:
    """The teacher's key: ``ISOGRAD_API_KEY``, else ``OPENAI_API_KEY``, else ``None``.

    Raises:
        UserError: the key holds characters that no HTTP header can carry. The key is not shown.
    """
    for name in ("ISOGRAD_API_KEY", "OPENAI_API_KEY"):
        if key := os.environ.get(name, "").strip():
            return _plain(key, name)
    return None


class _Again(Exception):  # noqa: N818
    """A try that failed in a way that may pass."""


class TeacherClient:
    """Calls to one model on one server, as an async context manager.

    ::

        async with TeacherClient(url, "qwen", api_key_from_environment()) as teacher:
            await teacher.check()
            reply = await teacher.complete(request)

    Start as many ``complete`` as there is work: the client holds back what the server cannot take.

    Args:
        base_url: such as ``http://localhost:8000/v1``; ``/v1`` is added to an address without a path.
        model: its name on the server.
        api_key: from :func:`api_key_from_environment`; sent as a bearer token, never written or shown.
        max_concurrency: most calls under way.
        timeout: seconds for one try from sending to the last byte.
        retries: tries after the first one.
        spending: the account that every call is booked on; none is kept for others to see where ``None``.
        backoff: seconds before the first retry; doubled each time up to ``max_backoff``, then times a random 0.5 to 1.
        max_backoff: upper limit of a backoff.
        max_pause: upper limit of a pause that the server asks for by ``Retry-After``.
        seed: of the jitter and of the sampling seeds that are sent along at a temperature above 0.

    Raises:
        UserError: the address or a number makes no sense.
    """

    def __init__(
        self,
        base_url: str,
        model: str,
        api_key: str | None = None,
        *,
        max_concurrency: int = 8,
        timeout: float = 300.0,
        retries: int = 6,
        spending: Spending | None = None,
        backoff: float = 0.5,
        max_backoff: float = 30.0,
        max_pause: float = 120.0,
        seed: int = 0,
    ) -> None:
        if not timeout > 0 or retries < 0:
            raise UserError(f"timeout is {timeout} and retries is {retries}: give seconds above 0 and retries from 0")
        key = _plain(api_key.strip(), "the API key") if api_key else ""
        self.base_url = address(base_url)
        self.model = model
        self.spending = spending or Spending()
        self.limit = AdaptiveLimit(max_concurrency)
        self._timeout, self._retries, self._seed = timeout, retries, seed
        self._backoff, self._max_backoff, self._max_pause = backoff, max_backoff, max_pause
        self._dialect = Dialect()
        self._booked = asyncio.Event()
        self._stopped: UserError | None = None
        self._hide = _hider(key)
        self._has_key = bool(key)
        self._http = httpx.AsyncClient(
            headers={"Content-Type": "application/json"} | ({"Authorization": f"Bearer {key}"} if key else {}),
            timeout=httpx.Timeout(timeout, pool=None),
            limits=httpx.Limits(max_connections=None, max_keepalive_connections=max_concurrency),
        )

    def __repr__(self) -> str:
        return f"TeacherClient(base_url={self.base_url!r}, model={self.model!r})"

    async def __aenter__(self) -> Self:
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, traceback: TracebackType | None
    ) -> None:
        await self._http.aclose()

    async def complete(self, request: Request) -> Reply:
        """Make one call, with as many tries as it takes.

        Raises:
            TeacherUnavailable: no usable answer within the tries; the call counts as unfinished.
            TeacherError: the server refuses the call (see ``fatal`` for whether it refuses all).
            BudgetSpent: the call could exceed ``max_cost``; it was not made.
            UserError: what :meth:`stop` was given, if it was stopped.
        """
        random = named_random("teacher", "backoff", self._seed, request.key(self.model))
        sent, dialect = 0, self._dialect

        def wait(state: RetryCallState) -> float:
            longest = min(self._backoff * 2.0 ** min(state.attempt_number - 1, 32), self._max_backoff)
            return longest * random.uniform(0.5, 1.0)

        async def attempt() -> Reply:
            nonlocal sent, dialect
            dialect = dialect.meet(self._dialect)
            while True:
                sent += 1
                outcome = await self._try(request, dialect, sent)
                if isinstance(outcome, Reply):
                    self._dialect = self._dialect.meet(dialect)
                    return outcome
                dialect = outcome

        retrying = AsyncRetrying(
            retry=retry_if_exception_type(_Again), stop=stop_after_attempt(self._retries + 1), wait=wait, reraise=True
        )
        try:
            return await retrying(attempt)
        except _Again as last:
            raise TeacherUnavailable(
                f"{self.base_url}: no usable answer in {self._retries + 1} tries, the last one failed with {last};"
                " start the run again once the server is well"
            ) from None

    def stop(self, error: UserError) -> None:
        """Send nothing any more. Tries under way end as they would; whatever would be sent next raises ``error``."""
        self._stopped = self._stopped or error

    async def check(self) -> str:
        """Find out what is wrong before the run.

        Returns:
            One line that says what answers where.

        Raises:
            TeacherError: no server, another model (with the nearest name), a missing or refused key.
        """
        try:
            response = await self._http.get(f"{self.base_url}/models", timeout=min(self._timeout, _CHECK_SECONDS))
        except httpx.RequestError as error:
            raise TeacherUnavailable(
                f"no server answers at {self.base_url} ({self._words(error)}); start it, or mend --base-url"
            ) from None
        if response.status_code in (401, 403):
            raise self._refusal(response)
        names = model_names(response.content) if response.status_code == 200 else []
        if not names:  # not every server lists its models
            await self._tiny_call()
        elif self.model not in names:
            raise NotFoundError(f"{self.base_url}: no model {self.model!r}; {nearest(self.model, names)}")
        return f"{self.base_url}: model {self.model!r} answers"

    async def _tiny_call(self) -> None:
        request = Request("check", 1, (Message("user", "Say yes."),), None, max_tokens=16)
        try:
            outcome = await self._try(request, self._dialect, 1)
            if isinstance(outcome, Dialect):
                await self._try(request, outcome, 2)
        except _Again as error:
            raise TeacherUnavailable(
                f"{self.base_url}: the server gives no chat completion but {error}; mend --base-url, or try later"
            ) from None

    async def _try(self, request: Request, dialect: Dialect, sent: int) -> Reply | Dialect:
        """One HTTP request: a reply, or the lesser dialect to try at once."""
        async with self.limit as slot:
            reservation = await self._reserve(request)
            close: Callable[[Reservation], None] | None = self.spending.forfeit  # unless the server says more
            try:
                start = asyncio.get_running_loop().time()
                response = await self._post(dialect.body(request, self.model, self._seed), slot)
                seconds = asyncio.get_running_loop().time() - start
                if response.status_code != 200:
                    close = self.spending.release
                    if lesser := dialect.lesser(response.status_code, response.text, request):
                        return lesser
                    raise self._failure(response, slot)
                reply, reported = self._read(response, request, reservation, seconds, sent)
                slot.succeeded()
                close = None
                self.spending.settle(reservation, reply.prompt_tokens, reply.completion_tokens, reported)
                return reply
            finally:
                if close is not None:
                    close(reservation)
                self._booked.set()

    async def _reserve(self, request: Request) -> Reservation:
        """Set money aside; where only calls under way stand in the way, wait for them."""
        while True:
            if self._stopped is not None:
                raise self._stopped
            try:
                return self.spending.reserve(request)
            except BudgetSpent:
                if not self.spending.under_way:
                    raise
            self._booked.clear()
            await self._booked.wait()

    async def _post(self, body: dict[str, Any], slot: Slot) -> httpx.Response:
        try:
            # httpx bounds the gaps between bytes; this bounds the whole, against a server that drips.
            async with asyncio.timeout(self._timeout):
                return await self._http.post(f"{self.base_url}/chat/completions", content=canonical_json(body))
        except (TimeoutError, httpx.TimeoutException):
            slot.overloaded()
            raise _Again(f"no answer within {self._timeout:g} s") from None
        except httpx.RequestError as error:
            raise _Again(self._words(error)) from None

    def _read(
        self, response: httpx.Response, request: Request, reservation: Reservation, seconds: float, sent: int
    ) -> tuple[Reply, bool]:
        """The reply in a 200, and whether the server reported the tokens of the prompt."""
        try:
            part = read_completion(json.loads(response.content), request.max_tokens)
        except (ValueError, RecursionError) as error:
            raise _Again(f"status 200 and no chat completion: {self._words(error)}") from None
        prompt_tokens, completion_tokens = part.prompt_tokens, part.completion_tokens
        if completion_tokens is None:
            completion_tokens = round(estimate_tokens(part.text + (part.reasoning or "")))
        reported = prompt_tokens is not None
        if prompt_tokens is None:
            prompt_tokens = round(reservation.estimated_prompt * self.spending.ratio)
        reply = Reply(part.text, part.reasoning, part.finish, prompt_tokens, completion_tokens, seconds, sent)
        return reply, reported

    def _failure(self, response: httpx.Response, slot: Slot) -> Exception:
        """What to raise for a status other than 200; a status that may pass slows all calls down where it says so."""
        status = response.status_code
        if status not in _AGAIN or "insufficient_quota" in response.text:
            return self._refusal(response)
        if status in _OVERLOAD:
            slot.overloaded()
        pause = retry_after_seconds(response.headers.get("retry-after"))
        if pause is not None:
            self.limit.pause(min(pause, self._max_pause))
        return _Again(f"status {status}{self._said(response)}")

    def _refusal(self, response: httpx.Response) -> TeacherError:
        """The one line for a status that no retry mends."""
        status, said = response.status_code, self._said(response)
        where = f"{self.base_url}, model {self.model!r}: status {status}"
        if status in (401, 403):
            mend = "is the key right and allowed to use the model?" if self._has_key else "no key was sent:"
            return KeyRefusedError(f"{where}{said}; {mend} set ISOGRAD_API_KEY (or OPENAI_API_KEY)")
        if status == 402 or "insufficient_quota" in response.text:
            return QuotaSpentError(f"{where}{said}; the account behind the key has nothing left, top it up")
        if status == 404 or response.is_redirect:
            return NotFoundError(f"{where}{said}; mend --model or --base-url (it ends in /v1 on most servers)")
        words = response.text.lower()
        if status == 413 or any(sign in words for sign in _TOO_LONG):
            return RequestTooLongError(
                f"{where}{said}; shorten the problem, lower max_tokens, or raise the context length"
            )
        return RequestRefusedError(f"{where}{said}; the server does not take this request")

    def _said(self, response: httpx.Response) -> str:
        """What the server says about a failure, in one short line."""
        try:
            body = json.loads(response.content)
        except (ValueError, RecursionError):
            body = response.text
        if isinstance(body, dict):
            body = next((body[name] for name in ("error", "detail", "message") if body.get(name)), "")
        if isinstance(body, dict):
            body = body.get("message") or ""
        words = self._words(body if isinstance(body, str) else json.dumps(body))
        return f" ({words})" if words else ""

    def _words(self, said: object) -> str:
        text = self._hide(str(said) or type(said).__name__ if isinstance(said, Exception) else str(said))
        line = " ".join("".join(c if c.isprintable() else " " for c in text[:2000]).split())
        return line if len(line) <= 200 else line[:197] + "..."


def _plain(key: str, name: str) -> str:
    if not key.isascii() or not key.isprintable() or " " in key:
        raise UserError(f"{name}: holds a blank, a line break or a character beyond ASCII; copy the key again")
    return key


def _hider(key: str) -> Callable[[str], str]:
    """A function that blots the key out; the key itself becomes no attribute of anything."""
    return lambda text: text.replace(key, "[key]") if key else text
