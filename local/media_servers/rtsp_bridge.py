"""An RTSP server for tests: `python -m local.media_servers.rtsp_bridge --port 8554 --rtmp rtmp://HOST:PORT STREAM_ID...`.

Serves rtsp://127.0.0.1:PORT/live/<stream_id>/in from the RTMP server's path of the same name, or with --file from
a file that starts over with every first client. H.264 and AAC are repacked, never re-encoded. Prints `ready` when
it listens. Runs in a process of its own, for GStreamer's main loop.
"""

from __future__ import annotations

import argparse
import signal
import sys
from pathlib import Path
from typing import Any

import gi

gi.require_version("Gst", "1.0")
gi.require_version("GstRtspServer", "1.0")
from gi.repository import (  # noqa: E402 - the versions must be named first
    GLib,  # pyright: ignore[reportAttributeAccessIssue] - typelibs are known at run time only
    Gst,  # pyright: ignore[reportAttributeAccessIssue]
    GstRtspServer,  # pyright: ignore[reportAttributeAccessIssue]
)

from livedub.errors import LivedubError  # noqa: E402
from local.media_servers.base import StreamPath  # noqa: E402
from local.rtmp_url import split_rtmp_url  # noqa: E402

_QUEUE = "queue max-size-time=3000000000 max-size-bytes=0 max-size-buffers=0"
_LOOPBACK = "127.0.0.1"


def rtmp_source(rtmp_base: str, path: StreamPath) -> str:
    """The source of one path of an RTMP server, in gst-launch words."""
    address = split_rtmp_url(f"{rtmp_base.rstrip('/')}/{path.path}")
    return (
        f"rtmp2src host={address.host} port={address.port} application={address.app} "
        f"stream={address.playpath} ! flvdemux name=d"
    )


def file_source(file: Path) -> str:
    """The source that reads a file; its demuxer follows from its name.

    Raises:
        LivedubError: a container this bridge does not read, or a name that gst-launch would misread.
    """
    demuxers = {".mp4": "qtdemux", ".mov": "qtdemux", ".flv": "flvdemux"}
    demuxer = demuxers.get(file.suffix.lower())
    if demuxer is None or '"' in str(file) or not file.is_file():
        raise LivedubError(f"{file} is no readable MP4 or FLV file.", remedy="Give --file CLIP.mp4.")
    return f'filesrc location="{file.resolve()}" ! {demuxer} name=d'


def launch_line(source: str, *, audio: bool) -> str:
    """The whole pipeline: H.264 and AAC, each repacked as RFC 6184 and RFC 3640 say."""
    video = f"d. ! {_QUEUE} ! h264parse config-interval=-1 ! rtph264pay name=pay0 pt=96"
    sound = f"d. ! {_QUEUE} ! aacparse ! rtpmp4gpay name=pay1 pt=97" if audio else ""
    return f"( {source} {video} {sound} )"


def serve(port: int, launches: dict[StreamPath, str]) -> None:
    """Serve until SIGTERM."""
    Gst.init(None)
    server: Any = GstRtspServer.RTSPServer()
    server.set_address(_LOOPBACK)
    server.set_service(str(port))
    for path, launch in launches.items():
        factory: Any = GstRtspServer.RTSPMediaFactory()
        factory.set_launch(launch)
        factory.set_shared(True)
        server.get_mount_points().add_factory(f"/{path.path}", factory)
    loop = GLib.MainLoop()
    for number in (signal.SIGTERM, signal.SIGINT):
        GLib.unix_signal_add(GLib.PRIORITY_HIGH, number, loop.quit)
    if server.attach(None) == 0:
        raise LivedubError(
            f"The RTSP server cannot listen on {_LOOPBACK}:{port}.", remedy="Choose another port."
        )
    sys.stdout.write("ready\n")
    sys.stdout.flush()
    loop.run()


def main() -> int:
    """Serve what the command line names."""
    parser = argparse.ArgumentParser(prog="python -m local.media_servers.rtsp_bridge", description=__doc__)
    parser.add_argument("stream_ids", nargs="+", metavar="STREAM_ID")
    parser.add_argument("--port", type=int, default=8554)
    parser.add_argument("--no-audio", action="store_true", help="the source has no audio track")
    source = parser.add_mutually_exclusive_group(required=True)
    source.add_argument("--rtmp", help="serve from this RTMP server, rtmp://HOST:PORT")
    source.add_argument("--file", type=Path, help="serve from this MP4 or FLV file")
    arguments = parser.parse_args()
    try:
        launches: dict[StreamPath, str] = {}
        for stream_id in arguments.stream_ids:
            path = StreamPath.parse(f"{stream_id}/in")
            origin = file_source(arguments.file) if arguments.file else rtmp_source(arguments.rtmp, path)
            launches[path] = launch_line(origin, audio=not arguments.no_audio)
        serve(arguments.port, launches)
    except LivedubError as error:
        sys.stderr.write(f"{error}\n")
        return 2
    return 0


if __name__ == "__main__":
    sys.exit(main())
