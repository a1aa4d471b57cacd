#!/usr/bin/env python3
"""Fetches one file that no package registry has, and keeps it only where it is the one that the lock names.

    setup/fetch_pinned.py LOCK TARGET [ADDRESS]              exit 0: TARGET is the file; 75: it cannot be reached; 1: anything else
    setup/fetch_pinned.py --pin LOCK NAME==VERSION [ADDRESS] takes what is there now for the right one and writes it into LOCK

A lock is one line, `NAME==VERSION --hash=sha256:DIGEST`, below its comments. ADDRESS is a place of one's own instead of its
makers', with `{version}` in it. A TARGET that somebody put there is taken where it is the right file.
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
_NAMED = re.compile(r"([a-z][a-z0-9-]*)==([0-9][0-9A-Za-z.]*)")
_LINE = re.compile(_NAMED.pattern + r"\s+--hash=sha256:([0-9a-f]{64})")
_MAKERS = {
    "mediamtx": "https://github.com/bluenviron/mediamtx/releases/download/v{version}/mediamtx_v{version}_linux_amd64.tar.gz",
    "amazon-ssm-agent": "https://s3.amazonaws.com/ec2-downloads-windows/SSMAgent/{version}/debian_amd64/amazon-ssm-agent.deb",
}


class FetchError(Exception):
    """What is said, and the exit code."""

    def __init__(self, message: str, code: int = 1) -> None:
        super().__init__(message)
        self.code = code


def read_lock(lock: Path) -> tuple[str, str, str]:
    """Name, version and sha256.

    Raises:
        FetchError: it names no file.
    """
    lines = [line.strip() for line in lock.read_text().splitlines() if line.strip() and line[0] != "#"]
    match = _LINE.fullmatch(lines[0]) if len(lines) == 1 else None
    if match is None:
        raise FetchError(
            f"{lock} pins nothing: it wants one line, NAME==VERSION --hash=sha256:DIGEST. "
            f"Run setup/fetch_pinned.py --pin {lock} NAME==VERSION."
        )
    return match[1], match[2], match[3]


def address_of(name: str, version: str, address: str | None) -> str:
    """Where it is.

    Raises:
        FetchError: nobody knows.
    """
    pattern = address or _MAKERS.get(name)
    if pattern is None or not pattern.startswith(("https://", "http://")):
        raise FetchError(f"{pattern or name} has no address: give one, https://...{{version}}...")
    return pattern.replace("{version}", version)


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
        # http or https: address_of has looked.
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


def fetch(lock: Path, target: Path, address: str | None = None) -> None:
    """See that `target` is the file of `lock`.

    Raises:
        FetchError: it is not, and cannot be fetched.
    """
    name, version, wanted = read_lock(lock)
    if target.is_file() and digest_of(target) == wanted:
        return
    url = address_of(name, version, address)
    target.parent.mkdir(parents=True, exist_ok=True)
    with tempfile.TemporaryDirectory(dir=target.parent, prefix=".fetched.") as folder:
        fetched = Path(folder) / target.name
        download(url, fetched)
        found = digest_of(fetched)
        if found != wanted:
            raise FetchError(f"{url} has sha256 {found}, {lock} says {wanted}: nothing is kept.")
        fetched.chmod(0o644)
        fetched.replace(target)


def pin(lock: Path, named: str, address: str | None = None) -> str:
    """Take what is there for the right file; returns its sha256.

    Raises:
        FetchError: it cannot be fetched, or nothing is named.
    """
    match = _NAMED.fullmatch(named)
    if match is None:
        raise FetchError(f"{named} is no NAME==VERSION.")
    url = address_of(match[1], match[2], address)
    with tempfile.TemporaryDirectory() as folder:
        fetched = Path(folder) / "file"
        download(url, fetched)
        found = digest_of(fetched)
    comments = (
        [line for line in lock.read_text().splitlines() if line.startswith("#")] if lock.exists() else []
    )
    beside = lock.with_name(f".{lock.name}.{os.getpid()}")
    beside.write_text("\n".join([*comments, f"{named} --hash=sha256:{found}", ""]))
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
    if arguments[:1] == ["--pin"] and len(arguments) in {3, 4}:
        found = pin(Path(arguments[1]), arguments[2], *arguments[3:])
        sys.stdout.write(f"{arguments[1]} pins sha256 {found}: compare it with what its makers publish.\n")
    elif len(arguments) in {2, 3}:
        fetch(Path(arguments[0]), Path(arguments[1]), *arguments[2:])
    else:
        raise FetchError(
            "usage: fetch_pinned.py LOCK TARGET [ADDRESS] | --pin LOCK NAME==VERSION [ADDRESS]", 2
        )


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
