"""STS over HTTP: one pooled client, deadlines that hold, partials as they come, at most one retry."""

from __future__ import annotations

import asyncio
import time
from collections.abc import Callable
from functools import partial

import httpx
from pydantic import ValidationError

from livedub.sts.answer import read_answer
from livedub.sts.contract import MAX_AUDIO_BASE64_BYTES, Health, StsRequest, StsResult
from livedub.sts.deadline import Deadline
from livedub.sts.errors import StsBadAnswer, StsFailure, StsTimeout, StsUnavailable
from livedub.sts.partials import OnPartial, PartialGate, is_result
from livedub.sts.pooled_client import TEXT_ALLOWANCE_BYTES, PooledClient
from livedub.sts.retry import with_one_retry

_OK = 200
_HEALTH_TIMEOUT_MS = 3_000
_WARM_UP_PAUSE_MS = 500


class HttpSts:
    """`SpeechToSpeech` over `http(s)://`; see that protocol for what its methods promise."""

    def __init__(
        self,
        url: str,
        *,
        api_key: str = "",
        max_connections: int = 16,
        retry: bool = True,
        clock_ns: Callable[[], int] = time.monotonic_ns,
        transport: httpx.AsyncBaseTransport | None = None,
    ) -> None:
        self._clock_ns = clock_ns
        self._retry = retry
        self._http = PooledClient(url, api_key=api_key, max_connections=max_connections, transport=transport)

    async def process(self, request: StsRequest, on_partial: OnPartial | None = None) -> StsResult:
        """As `SpeechToSpeech.process`; one retry where the failure may pass and the deadline allows it."""
        deadline = Deadline(self._clock_ns, request.deadline_ms)
        gate = PartialGate(request, on_partial)
        attempt = partial(self._attempt, request, deadline, gate)
        return await (with_one_retry(attempt, deadline, gate) if self._retry else attempt())

    async def health(self) -> Health:
        """As `SpeechToSpeech.health`; an answer that is still loading is `ready` false, not an error."""
        answer = await self._http.exchange("GET", "health", timeout_ms=_HEALTH_TIMEOUT_MS)
        try:
            health = Health.model_validate_json(answer.body, strict=True)
        except ValidationError as error:
            raise StsUnavailable(
                f"GET health answered HTTP {answer.status_code}, which no STS service says.",
                remedy="Check STS_SERVICE_URL.",
            ) from error
        if health.ready and answer.status_code != _OK:
            raise StsUnavailable(f"GET health answered HTTP {answer.status_code}")
        return health

    async def warm_up(self, *, timeout_ms: int) -> None:
        """As `SpeechToSpeech.warm_up`: asks for the health until it is good, which also wakes a sleeping worker."""
        deadline = Deadline(self._clock_ns, timeout_ms)
        while True:
            try:
                health = await self.health()
                problem: StsFailure = StsUnavailable(f"STS is not ready: {health.detail}")
                if health.ready:
                    return
            except StsFailure as failure:
                problem = failure
            if deadline.left_ms() <= _WARM_UP_PAUSE_MS:
                raise problem
            await asyncio.sleep(_WARM_UP_PAUSE_MS / 1_000)

    async def aclose(self) -> None:
        """Close the pool."""
        await self._http.aclose()

    async def _attempt(self, request: StsRequest, deadline: Deadline, gate: PartialGate) -> StsResult:
        left_ms = deadline.left_ms()
        if left_ms < 1:
            raise StsTimeout(f"the deadline of {request.deadline_ms} ms passed before STS could be asked")
        # The service counts from receipt: a second attempt must not ask for more time than there is.
        body = request.model_copy(update={"deadline_ms": min(request.deadline_ms, left_ms)}).model_dump_json()
        if gate.wanted:
            return await self._follow(request, body, deadline, gate)
        answer = await self._http.exchange(
            "POST",
            "api/v1/sts/process",
            body=body,
            timeout_ms=left_ms,
            largest_bytes=_largest_answer_bytes(request),
        )
        return read_answer(request, answer.status_code, answer.body, answer.retry_after_ms)

    async def _follow(
        self, request: StsRequest, body: str, deadline: Deadline, gate: PartialGate
    ) -> StsResult:
        """Read the streamed answer, hand on its partials, return its last line."""
        largest_bytes = _largest_answer_bytes(request)
        async with self._http.open_lines(
            "api/v1/sts/stream", body, timeout_ms=deadline.left_ms(), largest_line_bytes=largest_bytes
        ) as lines:
            if lines.status_code != _OK:
                refusal = await lines.rest(deadline.left_ms(), largest_bytes)
                return read_answer(request, lines.status_code, refusal, lines.retry_after_ms)
            most = _most_lines(request)
            for _ in range(most):
                line = await lines.next_line(deadline.left_ms())
                if line is None:
                    raise StsBadAnswer("STS ended its answer without a result")
                if is_result(line):
                    return read_answer(request, _OK, line)
                await gate.offer_json(line)
        raise StsBadAnswer(f"STS sent {most} lines and no result")


def _largest_answer_bytes(request: StsRequest) -> int:
    return TEXT_ALLOWANCE_BYTES + len(request.config.targets) * MAX_AUDIO_BASE64_BYTES


def _most_lines(request: StsRequest) -> int:
    """Twice what the contract says (a text, an audio per language, the result), so that a newer service passes."""
    return 2 * (2 + len(request.config.targets))
