"""`python -m media_edge.mediamtx.recordings`: bring what MediaMTX records into the library, until SIGTERM.

    <folder>/parts/live/<stream_id>/<name>/<seconds>-<microseconds>.mp4    MediaMTX (recordPath), while it records
    <folder>/generations/                                                  the relay: which generation published when
    <folder>/spool/<stream_id>/<generation>/<name>-<seconds>-....mp4       complete parts, until they are uploaded

A part is complete when a later one of its path is there, or when nothing has been written to it for a while. All of it is
found on the disk, so nothing is lost with a hook, a restart or a crash.
"""

from __future__ import annotations

import logging
import re
import signal
import sys
import threading
import time
from collections.abc import Callable, Iterator
from functools import partial
from pathlib import Path

from pydantic import Field, ValidationError
from pydantic_settings import BaseSettings, SettingsConfigDict

from livedub.errors import InvalidInputError, LivedubError
from livedub.library.library_api_client import register_prefix
from livedub.library.library_settings import LibrarySettings
from livedub.library.live_uploads import LiveSpool, LiveUploader
from livedub.library.storage import LibraryStorage
from livedub.observability import configure_logging
from livedub.settings import explain
from livedub.supervision.paths import StreamPath, parse_path
from media_edge.mediamtx.generation_log import GenerationLog

_PART = re.compile(r"(\d+)-(\d{6})\.mp4")
_SETTINGS_WRONG = 2

log = logging.getLogger("media_edge.mediamtx.recordings")


class RecordingsSettings(BaseSettings):
    """Where MediaMTX and the relay leave things; the library is set up by S3_*, LIBRARY_API_URL, LIBRARY_API_TOKEN."""

    model_config = SettingsConfigDict(
        env_prefix="RECORDINGS_", extra="ignore", frozen=True, env_ignore_empty=True
    )

    folder: Path = Field(
        default=Path("/var/lib/livedub-recordings"),
        description="Folder of parts, of the relay's notes (RELAY_RECORDINGS_DIR) and of what waits for its upload.",
    )
    period_s: float = Field(default=10.0, gt=0, le=3_600, description="How often to look for complete parts.")
    quiet_s: float = Field(
        default=60.0,
        ge=5,
        le=3_600,
        description="How long nothing is written to the last part of a path before it counts as complete.",
    )


def collect(folder: Path, *, now_s: float, quiet_s: float) -> list[Path]:
    """Move every complete part to its generation in the spool; returns where they lie now."""
    generations, spool = GenerationLog(folder / "generations"), LiveSpool(folder / "spool")
    moved: list[Path] = []
    for path, part, began_s in _complete_parts(folder / "parts", now_s, quiet_s):
        # A source is there before its worker is, so its part belongs to whoever published at its end.
        at_s = part.stat().st_mtime if path.is_input else began_s
        generation = generations.at(path.stream_id, at_s)
        if generation is None:
            log.warning("%s stays: nobody is known to have published %s then", part, path)
            continue
        leavings = spool.claim(path.stream_id, generation)
        if leavings is None:
            continue  # being uploaded; the next look finds it free
        try:
            moved.append(part.rename(leavings.folder / f"{path.name}-{part.name}"))
        finally:
            leavings.release()
    return moved


def _complete_parts(parts: Path, now_s: float, quiet_s: float) -> Iterator[tuple[StreamPath, Path, float]]:
    for folder in sorted(parts.glob("live/*/*")):
        try:
            path = parse_path(folder.relative_to(parts).as_posix())
        except InvalidInputError:
            continue
        found = sorted(
            (int(match[1]) + int(match[2]) / 1_000_000, part)
            for part in folder.iterdir()
            if (match := _PART.fullmatch(part.name))
        )
        for number, (began_s, part) in enumerate(found):
            is_last = number == len(found) - 1
            if not is_last or now_s - part.stat().st_mtime >= quiet_s:
                yield path, part, began_s


def run(settings: RecordingsSettings, upload: Callable[[], object], stop: threading.Event) -> None:
    """Collect and upload until `stop`; what fails is tried again."""
    while not stop.is_set():
        try:
            collect(settings.folder, now_s=time.time(), quiet_s=settings.quiet_s)
            upload()
        except Exception:
            log.exception("a look at the recordings failed; the next one comes")
        stop.wait(settings.period_s)


def main() -> int:
    """Work; 0 after SIGTERM, 2 when the settings are wrong."""
    try:
        settings, library = _load(), LibrarySettings.load()
        configure_logging(style="json", level="INFO")
        storage = LibraryStorage(library)
    except LivedubError as error:
        sys.stderr.write(f"{error}\n")
        return _SETTINGS_WRONG
    register = partial(register_prefix, library.api_url, library.api_token.get_secret_value())
    uploader = LiveUploader(
        LiveSpool(settings.folder / "spool"),
        storage,
        register if library.api_url else _leave_to_the_next_scan,
    )
    stop = threading.Event()
    worker = threading.Thread(
        target=run, args=(settings, uploader.upload_complete, stop), name="recordings", daemon=True
    )
    for number in (signal.SIGTERM, signal.SIGINT):
        signal.signal(number, lambda *_: stop.set())
    worker.start()
    sys.stdout.write('{"event": "ready"}\n')
    sys.stdout.flush()
    stop.wait()
    # An upload under way is cut: the storage keeps its parts, and the next start goes on from there.
    return 0


def _load() -> RecordingsSettings:
    try:
        return RecordingsSettings()
    except ValidationError as error:
        raise explain(error, RecordingsSettings) from None


def _leave_to_the_next_scan(prefix: str) -> None:
    log.info("%s is uploaded; without LIBRARY_API_URL the next scan registers it", prefix)


if __name__ == "__main__":
    sys.exit(main())
