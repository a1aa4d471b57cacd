"""A media cache in memory, that hangs, fails or is read-only as told."""

from __future__ import annotations

import asyncio
from dataclasses import dataclass, field

from livedub.media_cache.key import Variant
from livedub.media_cache.wire import CacheMetadata


@dataclass
class MemoryStore:
    """See the module's description."""

    objects: dict[tuple[str, Variant], bytes] = field(default_factory=dict)
    uploads: list[CacheMetadata] = field(default_factory=list)
    failure: Exception | None = None
    hang: asyncio.Event | None = None
    writes: bool = True
    reads: int = 0
    closed: int = 0

    async def get(self, key: str, variant: Variant) -> bytes | None:
        self.reads += 1
        await self._misbehave()
        return self.objects.get((key, variant))

    async def put(self, metadata: CacheMetadata, body: bytes) -> bool:
        await self._misbehave()
        self.uploads.append(metadata)
        self.objects[metadata.key, metadata.variant.encoding] = body
        return True

    async def aclose(self) -> None:
        self.closed += 1

    async def _misbehave(self) -> None:
        if self.hang is not None:
            await self.hang.wait()
        if self.failure is not None:
            raise self.failure
