"""The list of everything published here, sent every few seconds: it repairs what lost hooks left wrong."""

from __future__ import annotations

import asyncio
import logging
import time
from collections import Counter
from collections.abc import Callable

from pydantic import ValidationError

from livedub.errors import LivedubError
from livedub.supervision.contract import MediaAddresses, PathReport, PublishedPath
from media_edge.mediamtx.relay.control_plane_client import ControlPlane
from media_edge.mediamtx.relay.gatekeeper import Gatekeeper
from media_edge.mediamtx.relay.nginx_arrivals import NginxArrivals
from media_edge.mediamtx.relay.publishers import MediaServerPort

_PATHS = "/v1/media/paths"
_FIRST_DELAY_S = 0.5

log = logging.getLogger(__name__)


class PathReporter:
    """Reports until cancelled. A list that cannot be read or sent is left out: the next one says it all."""

    def __init__(
        self,
        control_plane: ControlPlane,
        server: MediaServerPort,
        gatekeeper: Gatekeeper,
        arrivals: NginxArrivals,
        *,
        relay_id: str,
        media: MediaAddresses,
        counters: Counter[str],
        now_s: Callable[[], float] = time.time,
    ) -> None:
        self._control_plane = control_plane
        self._server = server
        self._gatekeeper = gatekeeper
        self._arrivals = arrivals
        self._relay_id = relay_id
        self._media = media
        self._counters = counters
        self._now_s = now_s
        self._failed = False

    async def run(self, period_s: float) -> None:
        """Report soon, then every `period_s`."""
        await asyncio.sleep(min(_FIRST_DELAY_S, period_s))
        while True:
            began_s = time.monotonic()
            await self.report()
            await asyncio.sleep(max(0.0, period_s - (time.monotonic() - began_s)))

    async def report(self) -> bool:
        """Send one list; whether it arrived."""
        try:
            await self._report()
        except (LivedubError, ValidationError) as error:
            self._counters["reports_failed"] += 1
            if not self._failed:  # once per outage
                log.warning("the list of published paths did not leave: %s", error)
            self._failed = True
            return False
        self._counters["reports_sent"] += 1
        if self._failed:
            log.info("the list of published paths arrives again")
        self._failed = False
        return True

    async def _report(self) -> None:
        taken_at_ms = int(self._now_s() * 1_000)  # before asking: what comes and goes meanwhile is newer
        published = await self._server.published()
        await self._gatekeeper.enforce(published)
        listed = {it.path: it.source_id for it in (*self._arrivals.present(), *published)}
        answer = await self._control_plane.post(
            _PATHS,
            PathReport(
                relay_id=self._relay_id,
                taken_at_ms=taken_at_ms,
                media=self._media,
                paths=[PublishedPath(path=path, source_id=listed[path]) for path in sorted(listed)],
            ),
        )
        if answer.status >= 300:
            raise LivedubError(f"The control plane answered {answer.status} to a list of paths.")
