"""A file that lies elsewhere, read by pieces as they are asked for."""

from __future__ import annotations

import io
from collections import OrderedDict
from collections.abc import Callable

BLOCK_BYTES = 256 * 1024
_KEPT_BLOCKS = 8


class RangeFile(io.RawIOBase):
    """Random access to something that can be fetched by ranges; keeps the last few blocks.

    It has no name: a reader that is given it can go by its content only.

    Args:
        fetch: gives the bytes from the first offset up to, not including, the second.
        size_bytes: length of the whole.
        block_bytes: what is fetched at a time.
    """

    def __init__(
        self, fetch: Callable[[int, int], bytes], size_bytes: int, *, block_bytes: int = BLOCK_BYTES
    ) -> None:
        super().__init__()
        self._fetch = fetch
        self._size_bytes = size_bytes
        self._block_bytes = block_bytes
        self._blocks: OrderedDict[int, bytes] = OrderedDict()
        self._position = 0

    def readable(self) -> bool:
        """It is."""
        return True

    def seekable(self) -> bool:
        """It is."""
        return True

    def tell(self) -> int:
        """Where the next read begins."""
        return self._position

    def seek(self, offset: int, whence: int = io.SEEK_SET, /) -> int:
        """Go to a place; one behind the end reads nothing."""
        base = {io.SEEK_SET: 0, io.SEEK_CUR: self._position, io.SEEK_END: self._size_bytes}[whence]
        if base + offset < 0:
            raise ValueError(f"there is nothing at {base + offset}")
        self._position = base + offset
        return self._position

    def read(self, size: int = -1, /) -> bytes:
        """Up to `size` bytes, all that remain where it is negative; fewer only at the end.

        Raises:
            LibraryError: what `fetch` raises.
        """
        end = self._size_bytes if size < 0 else min(self._size_bytes, self._position + size)
        pieces: list[bytes] = []
        while self._position < end:
            number, offset = divmod(self._position, self._block_bytes)
            piece = self._block(number)[offset : offset + end - self._position]
            pieces.append(piece)
            self._position += len(piece)
        return b"".join(pieces)

    def readall(self) -> bytes:
        """All that remains."""
        return self.read()

    def _block(self, number: int) -> bytes:
        block = self._blocks.get(number)
        if block is None:
            start = number * self._block_bytes
            end = min(start + self._block_bytes, self._size_bytes)
            block = self._fetch(start, end)
            if len(block) != end - start:
                raise EOFError(f"{len(block)} bytes came where {end - start} were asked for")
            self._blocks[number] = block
            if len(self._blocks) > _KEPT_BLOCKS:
                self._blocks.popitem(last=False)
        else:
            self._blocks.move_to_end(number)
        return block
