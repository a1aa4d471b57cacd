"""Newline-delimited JSON out of arbitrary chunks. Pure, bounded."""

from __future__ import annotations

from livedub.sts.errors import StsBadAnswer


class LineBuffer:
    """Cuts bytes into lines, whatever the chunks they come in; a line may have `largest_bytes`."""

    def __init__(self, largest_bytes: int) -> None:
        self._largest_bytes = largest_bytes
        self._pending = bytearray()

    def feed(self, chunk: bytes) -> list[bytes]:
        """The lines that `chunk` completes, without their ends; empty lines are left out.

        Raises:
            StsBadAnswer: a line is longer than allowed.
        """
        first, *rest = chunk.split(b"\n")
        self._grow(first)
        lines: list[bytes] = []
        for part in rest:
            lines.append(bytes(self._pending))
            self._pending.clear()
            self._grow(part)
        return [line for line in lines if line.strip()]

    def end(self) -> list[bytes]:
        """What stood after the last line end."""
        line = bytes(self._pending)
        self._pending.clear()
        return [line] if line.strip() else []

    def _grow(self, part: bytes) -> None:
        if len(self._pending) + len(part) > self._largest_bytes:
            raise StsBadAnswer(f"STS answered with a line of more than {self._largest_bytes} bytes")
        self._pending += part
