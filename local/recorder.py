"""Records live RTMP streams as they are on the wire: `python -m local.recorder URL OUT.flv [URL OUT.flv ...]`.

Writes OUT.flv (tags byte by byte as they came, timestamps absolute) and OUT.arrivals.jsonl beside it, one line
per packet with the wall clock of its arrival. Waits for each stream to appear, follows a publisher that leaves
and returns, and ends on SIGTERM with complete files.

Exit codes: 0 every stream was recorded, 3 a stream never appeared, 2 wrong usage or an unreadable stream.
"""

from __future__ import annotations

import argparse
import asyncio
import hashlib
import json
import signal
import sys
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any, BinaryIO

from livedub.errors import LivedubError
from local import flv
from local.rtmp_player import RtmpMessage, RtmpPlayer, StreamAbsentError
from local.rtmp_url import split_rtmp_url

EXIT_RECORDED = 0
EXIT_FAILED = 2
EXIT_NEVER_APPEARED = 3

_POLL_S = 0.1
_HASH_DIGITS = 16


@dataclass(frozen=True, slots=True)
class RecorderOptions:
    """Bounds of a recording.

    `wait_s`: how long a stream may take to appear. `return_s`: how long after its end it may come back; then the
    recording is over. `silence_s`: a connection that brings nothing for so long is dropped and made again.
    """

    wait_s: float = 60.0
    return_s: float = 20.0
    silence_s: float = 10.0


def arrivals_path(recording: Path) -> Path:
    """Where the arrivals of `recording` lie: `out.flv` has `out.arrivals.jsonl`."""
    return recording.with_suffix(".arrivals.jsonl")


class FlvRecording:
    """The two files of one recording; use it as a context manager.

    A message is on disk when `write` returns, so a recorder may be killed at any time and leave whole tags.
    """

    def __init__(self, path: Path) -> None:
        self._path = path
        self._flv: BinaryIO | None = None
        self._arrivals: BinaryIO | None = None
        self.packets = 0

    def __enter__(self) -> FlvRecording:
        self._path.parent.mkdir(parents=True, exist_ok=True)
        self._flv = self._path.open("wb", buffering=0)
        try:
            self._arrivals = arrivals_path(self._path).open("wb", buffering=0)
        except OSError:
            self._flv.close()
            raise
        flv.write_header(self._flv)
        return self

    def __exit__(self, *_: object) -> None:
        for file in (self._flv, self._arrivals):
            if file is not None:
                file.close()

    def write(self, message: RtmpMessage) -> None:
        """Append one message.

        Raises:
            InvalidInputError: a codec other than H.264 and AAC.
        """
        if self._flv is None or self._arrivals is None:
            raise RuntimeError("FlvRecording is used outside its context")
        flv.write_tag(self._flv, message.type_id, message.timestamp_ms, message.body)
        packet = flv.media_packet(message.type_id, message.timestamp_ms, message.body)
        if packet is None:
            return
        self.packets += 1
        line = {
            "kind": packet.kind,
            "pts_ns": packet.pts_ns,
            "dts_ns": packet.dts_ns,
            "size_bytes": len(packet.payload),
            "sha256": hashlib.sha256(packet.payload).hexdigest()[:_HASH_DIGITS],
            "utc_ns": message.utc_ns,
        }
        self._arrivals.write(json.dumps(line, separators=(",", ":")).encode() + b"\n")


async def record(url: str, path: Path, options: RecorderOptions, notify: Callable[..., None]) -> int:
    """Record `url` into `path` until the stream is over; return the number of media packets.

    `notify(event, **fields)` hears `recording` when a connection brings its first message and `ended` when it
    is over.

    Raises:
        LivedubError: the URL is wrong, or the stream carries something that cannot be recorded.
    """
    address = split_rtmp_url(url)
    loop = asyncio.get_running_loop()
    give_up_at = loop.time() + options.wait_s
    with FlvRecording(path) as recording:
        while loop.time() < give_up_at:
            before = told = recording.packets
            try:
                async with RtmpPlayer(address, timeout_s=options.silence_s) as player:
                    async for message in player.messages():
                        recording.write(message)
                        if recording.packets > told == before:
                            told = recording.packets
                            notify("recording", url=url, out=str(path))
            except (StreamAbsentError, TimeoutError):
                pass  # not there, or silent: the loop tries again within its bound
            if recording.packets > before:
                notify("ended", url=url, packets=recording.packets)
                give_up_at = loop.time() + options.return_s
            await asyncio.sleep(_POLL_S)
        return recording.packets


def _print_event(event: str, **fields: Any) -> None:
    sys.stdout.write(json.dumps({"event": event, **fields}) + "\n")
    sys.stdout.flush()


async def _record_all(pairs: list[tuple[str, Path]], options: RecorderOptions) -> int:
    recordings = [
        asyncio.create_task(record(url, path, options, _print_event), name=f"record {path.name}")
        for url, path in pairs
    ]
    loop = asyncio.get_running_loop()
    stopped = asyncio.Event()
    for number in (signal.SIGTERM, signal.SIGINT):
        loop.add_signal_handler(number, stopped.set)
    stop = asyncio.create_task(stopped.wait(), name="stop signal")
    everything = asyncio.gather(*recordings, return_exceptions=True)
    await asyncio.wait({everything, stop}, return_when=asyncio.FIRST_COMPLETED)
    stop.cancel()
    everything.cancel()
    await asyncio.wait(recordings)
    return _exit_code(recordings, pairs)


def _exit_code(recordings: list[asyncio.Task[int]], pairs: list[tuple[str, Path]]) -> int:
    code = EXIT_RECORDED
    for recording, (url, path) in zip(recordings, pairs, strict=True):
        error = None if recording.cancelled() else recording.exception()
        if error is not None:
            sys.stderr.write(f"{url}: {error}\n")
            code = EXIT_FAILED
        elif arrivals_path(path).stat().st_size == 0:
            sys.stderr.write(f"{url}: nobody published it while the recorder waited.\n")
            code = max(code, EXIT_NEVER_APPEARED) if code != EXIT_FAILED else code
    return code


def _pairs(values: list[str]) -> list[tuple[str, Path]]:
    if len(values) % 2:
        raise LivedubError("Every URL needs a file to record into.", remedy="Give URL OUT.flv pairs.")
    return [(url, Path(out)) for url, out in zip(values[::2], values[1::2], strict=True)]


def main() -> int:
    """Record what the command line names."""
    default = RecorderOptions()
    parser = argparse.ArgumentParser(prog="python -m local.recorder", description=__doc__)
    parser.add_argument("targets", nargs="+", metavar="URL OUT.flv")
    parser.add_argument("--wait-s", type=float, default=default.wait_s)
    parser.add_argument("--return-s", type=float, default=default.return_s)
    parser.add_argument("--silence-s", type=float, default=default.silence_s)
    arguments = parser.parse_args()
    options = RecorderOptions(arguments.wait_s, arguments.return_s, arguments.silence_s)
    try:
        return asyncio.run(_record_all(_pairs(arguments.targets), options))
    except LivedubError as error:
        sys.stderr.write(f"{error}\n")
        return EXIT_FAILED


if __name__ == "__main__":
    sys.exit(main())
