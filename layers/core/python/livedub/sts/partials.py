"""Which partials reach the caller: each once, checked like the final answer. Pure but for the caller's callback."""

from __future__ import annotations

import logging
from collections.abc import Awaitable, Callable, Iterable
from typing import Any

from pydantic import BaseModel, ConfigDict, ValidationError
from pydantic_core import to_json

from livedub.sts.answer import check_dub
from livedub.sts.contract import Dub, PartialKind, StsPartial, StsRequest
from livedub.sts.errors import StsBadAnswer

logger = logging.getLogger(__name__)

OnPartial = Callable[[StsPartial], Awaitable[None]]
"""Takes a partial; awaited before the next one is read, so it should be quick."""


class _Head(BaseModel):
    model_config = ConfigDict(extra="ignore")

    status: object = None


def is_result(line: bytes) -> bool:
    """Whether a piece of a streamed answer is the final result (it has `status`) and not a partial."""
    try:
        return _Head.model_validate_json(line).status is not None
    except ValidationError:
        return False


class PartialGate:
    """Lets through one `text` partial and one `audio` partial per language, however often a service sends them.

    It lives as long as the request, over every attempt: a job that is run again says everything again. A partial that
    breaks the contract is dropped and logged; the final answer decides about the fragment.
    """

    def __init__(self, request: StsRequest, on_partial: OnPartial | None) -> None:
        self._request = request
        self._on_partial = on_partial
        self._text_seen = False
        self._audio_seen: set[str] = set()

    @property
    def wanted(self) -> bool:
        """Whether the caller asked for partials."""
        return self._on_partial is not None

    @property
    def audio_delivered(self) -> bool:
        """Whether the caller has audio of this fragment already."""
        return bool(self._audio_seen)

    async def offer_json(self, line: bytes) -> None:
        """Deliver the partial in `line` unless the caller has it, or it is none."""
        try:
            partial = StsPartial.model_validate_json(line, strict=True)
        except ValidationError as error:
            logger.warning("STS sent a partial that is none: %s", error.errors(include_url=False)[0]["msg"])
            return
        await self.offer(partial)

    async def offer_each(self, pieces: Iterable[Any]) -> None:
        """As `offer_json`, for JSON that has been parsed already; free where nobody listens."""
        if self.wanted:
            for piece in pieces:
                await self.offer_json(to_json(piece))

    async def offer(self, partial: StsPartial) -> None:
        """Deliver `partial` unless the caller has it, or it does not fit the request."""
        try:
            new = self._new(partial)
        except StsBadAnswer as problem:
            logger.warning("STS sent a partial that cannot be used: %s", problem)
            return
        if new is not None and self._on_partial is not None:
            await self._on_partial(new)

    def _new(self, partial: StsPartial) -> StsPartial | None:
        """What of `partial` the caller lacks; it counts as delivered from here on."""
        if partial.fragment_id != self._request.fragment_id:
            raise StsBadAnswer(f"it is for fragment {partial.fragment_id[:160]!r}")
        languages = [dub.language for dub in partial.dubs]
        asked = {target.language for target in self._request.config.targets}
        if len(set(languages)) != len(languages) or not set(languages) <= asked:
            raise StsBadAnswer(f"it names languages {languages}, asked for {sorted(asked)}")
        return self._new_text(partial) if partial.kind is PartialKind.TEXT else self._new_audio(partial)

    def _new_text(self, partial: StsPartial) -> StsPartial | None:
        if any(dub.audio is not None for dub in partial.dubs):
            raise StsBadAnswer("it says text but carries audio")
        if self._text_seen:
            return None
        self._text_seen = True
        return partial

    def _new_audio(self, partial: StsPartial) -> StsPartial | None:
        new: list[Dub] = []
        for dub in partial.dubs:
            check_dub(self._request, dub)
            if dub.language not in self._audio_seen:
                new.append(dub)
        self._audio_seen.update(dub.language for dub in new)
        if not new:
            return None
        return partial if len(new) == len(partial.dubs) else partial.model_copy(update={"dubs": tuple(new)})
