"""Live meets library: each generation's subtitles and recordings wait in a spool folder, a thread uploads them."""

from __future__ import annotations

import logging
import threading
from collections.abc import Callable, Mapping
from functools import partial

from livedub.library.library_api_client import register_prefix
from livedub.library.library_settings import LibrarySettings
from livedub.library.live_uploads import Leavings, LiveSpool, LiveUploader
from livedub.library.storage import LibraryStorage
from livedub.library.transfers import Progress
from media_edge.worker.agent.settings import AgentSettings

logger = logging.getLogger(__name__)

_RETRY_S = 15.0
_LAST_RETRY_S = 2.0
"""Between the tries of a host that goes away: its disk goes with it."""
_MIB = 1024 * 1024
_RECORDING = "out.flv"

Upload = Callable[[Progress], object]
"""Uploads whatever is complete; what it is given may raise, to end it."""


class _Stopped(Exception):  # noqa: N818 - it ends a transfer, it is no error
    pass


class LiveLibrary:
    """The spool of one host. `start`, then `begin` and `end` around each generation, `finish` at the host's end."""

    def __init__(
        self,
        spool: LiveSpool,
        upload: Upload,
        *,
        records: bool,
        free_mb: int = 0,
        retry_s: float = _RETRY_S,
        last_retry_s: float = _LAST_RETRY_S,
    ) -> None:
        """Nothing runs before `start`.

        Args:
            spool: where leavings wait.
            upload: called in a thread of its own.
            records: whether workers keep what they send.
            free_mb: of the spool's disk, which leavings never take.
            retry_s: between two tries.
            last_retry_s: between two tries of `finish`.
        """
        self._spool = spool
        self._upload = upload
        self._records = records
        self._free_mb = free_mb
        self._retry_s = retry_s
        self._last_retry_s = last_retry_s
        self._wake = threading.Event()
        self._finishing = False
        self._stopped = False
        self._thread = threading.Thread(target=self._run, name="library uploads", daemon=True)

    @classmethod
    def connect(cls, agent: AgentSettings, settings: LibrarySettings) -> LiveLibrary | None:
        """The host's spool as its settings have it; None where there is none.

        Raises:
            ConfigurationError: S3 cannot be spoken to like this.
        """
        if agent.library_spool is None:
            return None
        spool = LiveSpool(agent.library_spool.expanduser())
        register = (
            partial(register_prefix, settings.api_url, settings.api_token.get_secret_value())
            if settings.api_url
            else _leave_to_the_next_scan
        )
        uploader = LiveUploader(spool, LibraryStorage(settings), register)
        return cls(
            spool, uploader.upload_complete, records=agent.library_records, free_mb=agent.library_free_mb
        )

    def start(self) -> None:
        """Begin with what the last run of this host left."""
        self._thread.start()

    def begin(self, stream_id: str, generation: int) -> Leavings | None:
        """The generation's folder; None where it cannot be had: a full disk costs the leavings, never the stream."""
        try:
            free_mb = self._spool.free_bytes() // _MIB
            if free_mb < self._free_mb:
                logger.error(
                    "Nothing of this generation is kept for the library: the disk of %s has %d MB free, and "
                    "AGENT_LIBRARY_FREE_MB leaves %d to others.",
                    self._spool.folder,
                    free_mb,
                    self._free_mb,
                )
                return None
            leavings = self._spool.claim(stream_id, generation)
        except OSError as error:
            logger.error("Nothing of this generation is kept for the library: %s", error)
            return None
        if leavings is None:
            logger.error("Nothing of this generation is kept for the library: its folder is in use.")
        return leavings

    def worker_settings(self, leavings: Leavings | None) -> Mapping[str, str | int]:
        """What a worker must be told to leave things there."""
        if leavings is None:
            return {}
        told: dict[str, str | int] = {"subtitles_dir": str(leavings.folder)}
        if self._records:
            told["recording_path"] = str(leavings.folder / _RECORDING)
            told["recording_free_mb"] = self._free_mb
        return told

    def end(self, leavings: Leavings | None) -> None:
        """The generation's worker is gone: what it left may be uploaded."""
        if leavings is not None:
            leavings.release()
            self._wake.set()

    def finish(self, timeout_s: float) -> None:
        """Upload what is left, again where it fails, for so long; the rest is the next start's. Blocks."""
        self._finishing = True
        self._wake.set()
        self._thread.join(timeout_s)
        self.stop()
        waiting = self._spool.waiting()
        if waiting:
            logger.error(
                "%d generations could not be uploaded to the library: they wait in %s, and go with this host's disk.",
                waiting,
                self._spool.folder,
            )

    def stop(self) -> None:
        """End what is under way, and `finish`; what has come so far counts."""
        self._stopped = True
        self._wake.set()

    def _run(self) -> None:
        while not self._stopped:
            last = self._finishing
            self._wake.clear()
            try:
                self._upload(self._go_on)
            except _Stopped:
                return
            except Exception:
                logger.exception("Uploading to the library failed; it is tried again.")
            if not last:
                pause_s = 0 if self._finishing else self._retry_s
            elif self._spool.waiting():
                pause_s = self._last_retry_s
            else:
                return
            if not self._stopped:
                self._wake.wait(pause_s)

    def _go_on(self, _done_bytes: int, _size_bytes: int) -> None:
        if self._stopped:
            raise _Stopped


def _leave_to_the_next_scan(prefix: str) -> None:
    logger.info("%s is uploaded; without LIBRARY_API_URL the next scan registers it.", prefix)
