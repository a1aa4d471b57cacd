"""A worker's link to the media cache: made beside the stream's work, ended with it."""

from __future__ import annotations

import asyncio
import logging
import shutil

from livedub.errors import LivedubError
from livedub.media_cache.consumer_settings import MediaCacheSettings
from livedub.media_cache.policy import CachePolicy
from livedub.media_cache.policy_connection import connect_cache_policy, follow_settings

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
        self._settings = settings
        self._task: asyncio.Task[None] | None = None
        self._following: asyncio.Task[None] | None = None

    def start(self) -> None:
        """Connect, once."""
        if self.policy is None or self._task is not None:
            return
        if shutil.which("rubberband") is None:
            logger.warning(
                "rubberband is not installed: cached speech airs only where it fits as it is. Install rubberband-cli."
            )
        self._task = asyncio.create_task(self.policy.warm_up(), name="media cache warm-up")

    def follow(self, settings: MediaCacheSettings) -> None:
        """Go on with other settings, where they differ; what is under way ends with those before. The last call counts."""
        if settings == self._settings:
            return
        self._settings = settings
        if self.policy is None:
            if settings.base_urls:
                logger.info("There is a media cache now: the next worker asks it.")
            return
        if self._following is None or self._following.done():
            self._following = asyncio.create_task(self._follow(self.policy), name="media cache settings")

    async def _follow(self, policy: CachePolicy) -> None:
        followed = None
        while self._settings is not None and self._settings != followed:
            followed = self._settings
            try:
                await follow_settings(policy, followed)
            except LivedubError as error:
                logger.error("The new settings of the media cache are refused, the old ones stay: %s", error)
            except Exception:
                logger.exception("The new settings of the media cache could not be used.")
            else:
                await policy.warm_up()

    async def aclose(self) -> None:
        """Give what is being stored a moment, then disconnect. Safe to call twice."""
        tasks = [task for task in (self._task, self._following) if task is not None]
        for task in tasks:
            task.cancel()
        await asyncio.gather(*tasks, return_exceptions=True)
        if self.policy is not None:
            await self.policy.aclose()
