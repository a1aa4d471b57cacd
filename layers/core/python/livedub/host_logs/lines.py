"""Lines out of bytes, of which none can take all memory."""

from __future__ import annotations


class LineSplitter:
    """Cuts what is read into lines. One that is longer than `longest_bytes` is left out."""

    def __init__(self, longest_bytes: int) -> None:
        self._longest = longest_bytes
        self._rest = b""
        self._skips = False
        self.left_out = 0
        """Lines so far that were too long."""

    @property
    def held_bytes(self) -> int:
        """Of a line whose end has not come."""
        return len(self._rest)

    def feed(self, data: bytes) -> list[bytes]:
        """Lines that are whole now, without their ends; empty ones are none."""
        *whole, self._rest = (self._rest + data).split(b"\n")
        lines: list[bytes] = []
        for line in whole:
            if self._skips or len(line) > self._longest:
                self.left_out += not self._skips
                self._skips = False
            elif line:
                lines.append(line)
        if len(self._rest) > self._longest:
            self.left_out += not self._skips
            self._skips = True
        if self._skips:
            self._rest = b""
        return lines
