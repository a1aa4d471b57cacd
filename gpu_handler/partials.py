"""Sends the parts of an answer in order: the texts once, as soon as every language has its own, then each dub."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable, Collection, Mapping

from gpu_handler.job import Job
from livedub.sts.contract import Dub, PartialKind, StsPartial, Transcript

OnPartial = Callable[[StsPartial], Awaitable[None]]


class Partials:
    """The parts of one answer; `on_partial` is never called twice at the same time."""

    def __init__(
        self, job: Job, on_partial: OnPartial | None, languages: Collection[str], models: Mapping[str, str]
    ) -> None:
        self._job = job
        self._send = on_partial
        self._models = dict(models)
        self._languages = tuple(languages)
        self._missing = set(languages)
        self._dubs: dict[str, Dub] = {}
        self._texts_sent = asyncio.Event()
        self._sending = asyncio.Lock()

    async def text(self, transcript: Transcript, language: str, worded: Dub | None) -> None:
        """One language's dub before it has sound; None where there is none. The last one sends them all."""
        self._missing.discard(language)
        if worded is not None:
            self._dubs[language] = worded
        if self._missing:
            return
        dubs = (self._dubs[known] for known in self._languages if known in self._dubs)
        await self._emit(PartialKind.TEXT, tuple(dubs), transcript)
        self._texts_sent.set()

    async def audio(self, dub: Dub) -> None:
        """One language's dub."""
        await self._texts_sent.wait()
        await self._emit(PartialKind.AUDIO, (dub,))

    async def _emit(
        self, kind: PartialKind, dubs: tuple[Dub, ...], transcript: Transcript | None = None
    ) -> None:
        if self._send is None:
            return
        async with self._sending:
            await self._send(
                StsPartial(
                    kind=kind,
                    fragment_id=self._job.request.fragment_id,
                    transcript=transcript,
                    dubs=dubs,
                    stage_timings=self._job.timings,
                    models=self._models,
                )
            )
