"""Runs the ffmpeg program: its progress is heard, it stops at once when told to, and it never outlives us.

The kernel kills it when we die, even of SIGKILL (PR_SET_PDEATHSIG, set by util-linux's setpriv between fork and exec,
because a preexec_fn may deadlock beside threads). That signal comes when the thread that started it ends, so this
belongs into the thread that runs the job.
"""

from __future__ import annotations

import os
import selectors
import shutil
import signal
import subprocess
from collections import deque
from collections.abc import Sequence
from contextlib import suppress
from pathlib import Path
from typing import IO, cast

from livedub.errors import MissingPrerequisiteError
from livedub.library.library_errors import DiskFullError, LibraryError, LibraryErrorCode
from livedub.library.work.step_progress import ASK_EVERY_S, StepProgress

_KEPT_LINES = 12
_KEPT_CHARACTERS = 600
_KILL_BOUND_S = 5.0
_READ_BYTES = 1 << 16
_NO_ROOM = ("No space left on device", "Disk quota exceeded")


def run_ffmpeg(
    program: str, arguments: Sequence[str], *, folder: Path, length_us: int, progress: StepProgress
) -> None:
    """Run it in `folder` until it ends well.

    Args:
        program: name or path.
        arguments: all but those that make it quiet and let it report.
        folder: its working folder, where it also writes.
        length_us: duration of what it writes; 0 where that is unknown, then there is no progress before the end.
        progress: hears of it, and says when to stop.

    Raises:
        JobCancelledError: `progress` said so; the program is gone by then.
        DiskFullError: it found no room.
        LibraryError: WORK_FAILED with its last words.
        MissingPrerequisiteError: there is no such program.
    """
    found = shutil.which(program)
    if found is None:
        raise MissingPrerequisiteError(
            f"LIBRARY_FFMPEG names {program!r}, which is not there.",
            remedy="Install ffmpeg (Debian: apt install ffmpeg), or give its path.",
        )
    command = [found, "-hide_banner", "-nostdin", "-nostats", "-loglevel", "error", "-y"]
    command += ["-progress", "pipe:1", *arguments]
    with _child(_dying_with_us(command), folder) as child:
        errors = _follow(child, length_us, progress)
        code = child.wait()
    if code != 0:
        raise _failure(errors, code, folder)


class _Running:
    """The process, killed with all it started when the block ends before it."""

    def __init__(self, command: Sequence[str], folder: Path) -> None:
        self._process = subprocess.Popen(
            command,
            cwd=folder,
            stdin=subprocess.DEVNULL,
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            start_new_session=True,
        )

    @property
    def outputs(self) -> tuple[IO[bytes], IO[bytes]]:
        """Its stdout and stderr."""
        return cast("tuple[IO[bytes], IO[bytes]]", (self._process.stdout, self._process.stderr))

    def wait(self) -> int:
        """Its exit code, once both outputs have ended."""
        return self._process.wait(_KILL_BOUND_S)

    def __enter__(self) -> _Running:
        return self

    def __exit__(self, *_: object) -> None:
        if self._process.poll() is None:
            with suppress(ProcessLookupError):
                os.killpg(self._process.pid, signal.SIGKILL)
            self._process.wait(_KILL_BOUND_S)
        for output in self.outputs:
            output.close()


def _child(command: Sequence[str], folder: Path) -> _Running:
    try:
        return _Running(command, folder)
    except OSError as error:
        raise MissingPrerequisiteError(
            f"{command[-1]} cannot be started: {error}.", remedy="Check LIBRARY_FFMPEG."
        ) from error


def _dying_with_us(command: list[str]) -> list[str]:
    setpriv = shutil.which("setpriv")
    return command if setpriv is None else [setpriv, "--pdeathsig", "KILL", "--", *command]


def _follow(child: _Running, length_us: int, progress: StepProgress) -> list[str]:
    """Read both outputs to their ends; returns the last lines of the second."""
    words, complaints = child.outputs
    readers = {words.fileno(): _Lines(), complaints.fileno(): _Lines()}
    last: deque[str] = deque(maxlen=_KEPT_LINES)
    done = 0.0
    with selectors.DefaultSelector() as selector:
        for descriptor in readers:
            selector.register(descriptor, selectors.EVENT_READ)
        while selector.get_map():
            for key, _ in selector.select(ASK_EVERY_S):
                data = os.read(key.fd, _READ_BYTES)
                if not data:
                    selector.unregister(key.fd)
                lines = readers[key.fd].take(data)
                if key.fd == complaints.fileno():
                    last.extend(lines)
                elif length_us:
                    done = max([done, *(_written_us(line) / length_us for line in lines)])
            progress.tick(done)
    return list(last)


class _Lines:
    """Cuts what comes into lines; what has no end of line is cut, too, lest it grow without bound."""

    def __init__(self) -> None:
        self._rest = b""

    def take(self, data: bytes) -> list[str]:
        """The lines that are complete now; no data ends the last one."""
        *lines, self._rest = (self._rest + data).split(b"\n")
        if not data or len(self._rest) > _READ_BYTES:
            lines.append(self._rest)
            self._rest = b""
        return [text for line in lines if (text := line.decode("utf-8", "replace").strip())]


def _written_us(line: str) -> int:
    """Of a line of `-progress`, how far the output reaches; 0 for any other."""
    name, _, value = line.partition("=")
    return int(value) if name == "out_time_us" and value.lstrip("-").isdigit() else 0


def _failure(errors: list[str], code: int, folder: Path) -> LibraryError:
    words = " / ".join(errors)[-_KEPT_CHARACTERS:] or f"it ended with code {code}"
    if any(phrase in words for phrase in _NO_ROOM):
        return DiskFullError(folder)
    return LibraryError(
        LibraryErrorCode.WORK_FAILED,
        f"ffmpeg failed: {words}.",
        "Check that the source plays from end to end.",
    )
