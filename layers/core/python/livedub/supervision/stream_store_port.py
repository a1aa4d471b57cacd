"""What supervision needs from the place where streams are kept."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Protocol

from livedub.supervision.record import StreamRecord

Rule = Callable[[StreamRecord | None], StreamRecord | None]
"""Takes the record as it is (None: there is none yet), returns it as it shall be; None leaves it alone."""


class StreamStore(Protocol):
    """Keeps records; `update` is a compare-and-swap, so a rule may run more than once."""

    def load(self, stream_id: str) -> StreamRecord | None:
        """The record, read consistently."""
        ...

    def load_many(self, stream_ids: Sequence[str]) -> list[StreamRecord]:
        """The records that exist, read consistently, in any order."""
        ...

    def list_all(self) -> list[StreamRecord]:
        """Every record, by stream_id."""
        ...

    def update(self, stream_id: str, rule: Rule) -> StreamRecord | None:
        """Apply `rule` to the current record and write the result; return the record as it is now.

        What `rule` raises passes through, and nothing is written.

        Raises:
            StoreBusyError: others kept writing for longer than the store's patience.
        """
        ...
