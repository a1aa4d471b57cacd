"""As much of S3 as a scan meets: a bucket of any number of keys, each with the same second of sound.

Made to cost next to nothing, so that a scan's own cost shows. `python tests/bench/listing_server.py KEYS` prints its
port and serves until its input ends.
"""

from __future__ import annotations

import functools
import re
import struct
import sys
import threading
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from urllib.parse import parse_qs, unquote, urlsplit

PAGE = 1_000
RATE_HZ = 8_000
SOUND = (
    struct.pack("<4sI4s4sIHHIIHH4sI", b"RIFF", 36 + RATE_HZ, b"WAVE", b"fmt ", 16, 1, 1, RATE_HZ, RATE_HZ, 1, 8, b"data", RATE_HZ)
    + b"\x80" * RATE_HZ
)  # fmt: skip
"""One second of silence as 8-bit WAV."""
_HEAD = (
    '<?xml version="1.0" encoding="UTF-8"?><ListBucketResult xmlns="http://s3.amazonaws.com/doc/2006-03-01/">'
)


def key_of(number: int) -> str:
    """Keys as people choose them, in the order of their bytes."""
    return f"archive/{number // 500:05d}/recording-{number:08d}.wav"


def etag_of(number: int) -> str:
    """What MD5 would look like."""
    return f"{number:032x}"


@functools.cache
def page(first: int, keys: int) -> bytes:
    """A page of the listing as S3 writes it."""
    last = min(first + PAGE, keys)
    contents = "".join(
        f"<Contents><Key>{key_of(number)}</Key><LastModified>2026-01-01T12:00:00.000Z</LastModified>"
        f"<ETag>&quot;{etag_of(number)}&quot;</ETag><Size>{len(SOUND)}</Size>"
        "<StorageClass>STANDARD</StorageClass></Contents>"
        for number in range(first, last)
    )
    more = last < keys
    token = f"<NextContinuationToken>{last}</NextContinuationToken>" if more else ""
    tail = f"<IsTruncated>{str(more).lower()}</IsTruncated>{token}<KeyCount>{last - first}</KeyCount>"
    return f"{_HEAD}<Name>b</Name><Prefix></Prefix>{contents}{tail}</ListBucketResult>".encode()


class Handler(BaseHTTPRequestHandler):
    """Answers listings, and GET and HEAD of objects."""

    protocol_version = "HTTP/1.1"
    keys = 0

    def do_GET(self) -> None:
        """A page, or a range of an object."""
        parts = urlsplit(self.path)
        query = parse_qs(parts.query)
        if "list-type" in query:
            body = page(int(query.get("continuation-token", ["0"])[0]), self.keys)
            self._answer(200, body, {"Content-Type": "application/xml"})
            return
        found = re.fullmatch(r"bytes=(\d+)-(\d+)", self.headers.get("Range", ""))
        start, end = (int(found[1]), int(found[2]) + 1) if found else (0, len(SOUND))
        headers = {"Content-Range": f"bytes {start}-{end - 1}/{len(SOUND)}"} if found else {}
        self._answer(206 if found else 200, SOUND[start:end], self._about(parts.path) | headers)

    def do_HEAD(self) -> None:
        """What is known of an object."""
        self._answer(200, SOUND, self._about(urlsplit(self.path).path))

    def log_message(self, format: str, *args: object) -> None:  # noqa: A002 - the base class's name
        """Nothing."""

    def _about(self, path: str) -> dict[str, str]:
        number = int(re.findall(r"\d+", unquote(path))[-1])
        return {"ETag": f'"{etag_of(number)}"', "Last-Modified": "Thu, 01 Jan 2026 12:00:00 GMT"}

    def _answer(self, status: int, body: bytes, headers: dict[str, str]) -> None:
        self.send_response_only(status)
        for name, value in {**headers, "Content-Length": str(len(body))}.items():
            self.send_header(name, value)
        self.end_headers()
        if self.command != "HEAD":
            self.wfile.write(body)


def main() -> None:
    """Serve until nobody listens any more."""
    Handler.keys = int(sys.argv[1])
    for first in range(0, Handler.keys, PAGE):
        page(first, Handler.keys)
    server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
    server.daemon_threads = True
    threading.Thread(target=server.serve_forever, daemon=True).start()
    print(server.server_port, flush=True)  # noqa: T201 - for the parent
    sys.stdin.read()
    server.shutdown()


if __name__ == "__main__":
    main()
