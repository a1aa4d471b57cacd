"""Following the journal by journalctl, from a place in it on."""

from __future__ import annotations

import os
import select
import subprocess
from collections.abc import Sequence

from livedub.host_logs.journal_entry import FIELDS
from livedub.host_logs.lines import LineSplitter
from livedub.host_logs.stop_request import StopRequest

FIRST_TIME = "-24h"
"""Where there is no place yet. All of a new host; of one that was there before, not what AWS would call too old."""

_READ_BYTES = 65_536
_LONGEST_LINE_BYTES = 1_048_576
_STOP_S = 5.0


def journalctl_command(program: str, cursor: str) -> list[str]:
    """The command that prints every entry after `cursor`, one JSON object a line, and then each new one.

    --no-tail: it would begin with the last ten. --merge: it would leave out what was written before the last boot, as the
    end of a shutdown is. --all: it would say null for longer values.
    """
    begins = f"--after-cursor={cursor}" if cursor else f"--since={FIRST_TIME}"
    return [
        program,
        "--system",
        "--merge",
        "--follow",
        "--no-tail",
        "--all",
        "--quiet",
        "--no-pager",
        "--output=json",
        f"--output-fields={','.join(FIELDS)}",
        begins,
    ]


class Journal:
    """One journalctl at a time. While nobody reads it waits: the pipe holds 64 KiB, and journald never notices."""

    def __init__(self, stop: StopRequest, *, program: str = "journalctl") -> None:
        self._stop = stop
        self._program = program
        self._process: subprocess.Popen[bytes] | None = None
        self._splitter = LineSplitter(_LONGEST_LINE_BYTES)

    def open(self, cursor: str) -> None:
        """Begin after `cursor`.

        Raises:
            OSError: the program cannot be started.
        """
        self.close()
        self._splitter = LineSplitter(_LONGEST_LINE_BYTES)
        self._process = subprocess.Popen(
            journalctl_command(self._program, cursor), stdin=subprocess.DEVNULL, stdout=subprocess.PIPE
        )

    def read(self, seconds: float) -> Sequence[bytes] | None:
        """Lines that are there within so many seconds, or fewer where the process is to end; None: it gives no more."""
        if self._process is None or self._process.stdout is None:
            return None
        pipe = self._process.stdout.fileno()
        watched = [pipe] if self._stop.asked else [pipe, self._stop.fileno()]
        ready, _, _ = select.select(watched, [], [], max(0.0, seconds))
        if pipe not in ready:
            return []
        data = os.read(pipe, _READ_BYTES)
        return self._splitter.feed(data) if data else None

    def close(self) -> None:
        """End it. What was printed and not read is printed again the next time."""
        process, self._process = self._process, None
        if process is None:
            return
        process.terminate()
        try:
            process.wait(_STOP_S)
        except subprocess.TimeoutExpired:
            process.kill()
            process.wait()
        if process.stdout is not None:
            process.stdout.close()
