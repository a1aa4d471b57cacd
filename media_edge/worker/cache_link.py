"""A worker's link to the media cache: made beside the stream's work, ended with it."""

from __future__ import annotations

import asyncio
import logging
import shutil

from livedub.media_cache.consumer_settings import MediaCacheSettings
from livedub.media_cache.policy import CachePolicy
from livedub.media_cache.policy_connection import connect_cache_policy

logger = logging.getLogger(__name__)


class CacheLink:
    """Nothing depends on it: without a cache, or with one that is down, every line is spoken by STS.

    Args:
        settings: None, or without an address, where there is no cache.

    Raises:
        ConfigurationError: the token or the CA bundle cannot be used.
    """

    def __init__(self, settings: MediaCacheSettings | None) -> None:
        self.policy: CachePolicy | None = connect_cache_policy(settings) if settings is not None else None
        self._task: asyncio.Task[None] | None = None

    def start(self) -> None:
        """Connect, once."""
        if self.policy is None or self._task is not None:
            return
        if shutil.which("rubberband") is None:
            logger.warning(
                "rubberband is not installed: cached speech airs only where it fits as it is. Install rubberband-cli."
            )
        self._task = asyncio.create_task(self.policy.warm_up(), name="media cache warm-up")

    async def aclose(self) -> None:
        """Give what is being stored a moment, then disconnect. Safe to call twice."""
        if self._task is not None:
            self._task.cancel()
            await asyncio.gather(self._task, return_exceptions=True)
        if self.policy is not None:
            await self.policy.aclose()
