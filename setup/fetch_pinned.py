#!/usr/bin/env python3
"""Fetches one file that no package registry has, and keeps it only where it is the one that the lock names.

    setup/fetch_pinned.py LOCK TARGET     exit 0: TARGET is the file; 75: its address cannot be reached; 1: anything else
    setup/fetch_pinned.py --pin LOCK URL  takes what is at URL now for the right one and writes it into LOCK

A lock is one line, `URL SHA256`, below its comments. A TARGET that somebody put there is taken where it is the right file.
"""

from __future__ import annotations

import hashlib
import http.client
import os
import re
import sys
import tempfile
import urllib.error
import urllib.request
from pathlib import Path

UNREACHABLE = 75
"""What sysexits.h calls EX_TEMPFAIL: another time, or another machine, it may work."""

_TIMEOUT_S = 60
_LARGEST_BYTES = 256 * 1024 * 1024
_PIECE_BYTES = 1024 * 1024
_LINE = re.compile(r"(https?://\S+)\s+([0-9a-f]{64})")


class FetchError(Exception):
    """What is said, and the exit code."""

    def __init__(self, message: str, code: int = 1) -> None:
        super().__init__(message)
        self.code = code


def read_lock(lock: Path) -> tuple[str, str]:
    """URL and sha256.

    Raises:
        FetchError: it names no file.
    """
    lines = [line.strip() for line in lock.read_text().splitlines() if line.strip() and line[0] != "#"]
    match = _LINE.fullmatch(lines[0]) if len(lines) == 1 else None
    if match is None:
        raise FetchError(
            f"{lock} pins nothing: it wants one line, URL SHA256. Run setup/fetch_pinned.py --pin {lock} URL."
        )
    return match[1], match[2]


def digest_of(path: Path) -> str:
    """sha256 in hex."""
    digest = hashlib.sha256()
    with path.open("rb") as file:
        while piece := file.read(_PIECE_BYTES):
            digest.update(piece)
    return digest.hexdigest()


def download(url: str, to: Path) -> None:
    """Write what is at `url`.

    Raises:
        FetchError: it cannot be had, or is too large.
    """
    try:
        # The lock's own addresses, http or https by its pattern.
        with urllib.request.urlopen(url, timeout=_TIMEOUT_S) as response, to.open("wb") as file:  # noqa: S310
            received = 0
            while piece := response.read(_PIECE_BYTES):
                received += len(piece)
                if received > _LARGEST_BYTES:
                    raise FetchError(f"{url} is larger than {_LARGEST_BYTES} bytes.")
                file.write(piece)
    except urllib.error.HTTPError as error:
        raise FetchError(f"{url} answers {error.code}.") from error
    except (OSError, http.client.HTTPException) as error:
        raise FetchError(f"{url} cannot be reached: {error}.", UNREACHABLE) from error


def fetch(lock: Path, target: Path) -> None:
    """See that `target` is the file of `lock`.

    Raises:
        FetchError: it is not, and cannot be fetched.
    """
    url, wanted = read_lock(lock)
    if target.is_file() and digest_of(target) == wanted:
        return
    target.parent.mkdir(parents=True, exist_ok=True)
    with tempfile.TemporaryDirectory(dir=target.parent, prefix=".fetched.") as folder:
        fetched = Path(folder) / target.name
        download(url, fetched)
        found = digest_of(fetched)
        if found != wanted:
            raise FetchError(f"{url} has sha256 {found}, {lock} says {wanted}: nothing is kept.")
        fetched.chmod(0o644)
        fetched.replace(target)


def pin(lock: Path, url: str) -> str:
    """Take what is at `url` for the right file; returns its sha256.

    Raises:
        FetchError: it cannot be fetched, or the address is none.
    """
    with tempfile.TemporaryDirectory() as folder:
        fetched = Path(folder) / "file"
        if not url.startswith(("https://", "http://")):
            raise FetchError(f"{url} is no address: https://...")
        download(url, fetched)
        found = digest_of(fetched)
    comments = (
        [line for line in lock.read_text().splitlines() if line.startswith("#")] if lock.exists() else []
    )
    beside = lock.with_name(f".{lock.name}.{os.getpid()}")
    beside.write_text("\n".join([*comments, f"{url} {found}", ""]))
    beside.replace(lock)
    return found


def main(arguments: list[str]) -> int:
    """Run; returns the exit code."""
    try:
        _run(arguments)
    except FetchError as error:
        sys.stderr.write(f"fetch_pinned: {error}\n")
        return error.code
    return 0


def _run(arguments: list[str]) -> None:
    if len(arguments) == 3 and arguments[0] == "--pin":
        found = pin(Path(arguments[1]), arguments[2])
        sys.stdout.write(f"{arguments[1]} pins sha256 {found}: compare it with what its makers publish.\n")
    elif len(arguments) == 2:
        fetch(Path(arguments[0]), Path(arguments[1]))
    else:
        raise FetchError("usage: fetch_pinned.py LOCK TARGET | --pin LOCK URL", 2)


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
