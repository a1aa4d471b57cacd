"""What the work needs from whoever runs it."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Protocol

from livedub.library.library_errors import LibraryError, LibraryErrorCode

OnTransfer = Callable[[int, int], None]
"""Bytes moved so far, bytes in total. What it raises ends the transfer and comes out of it."""


class JobProgress(Protocol):
    """How an executor hears of a running job, and how the job hears of its cancellation."""

    def report(self, fraction: float) -> None:
        """The job is so far done, 0 to 1, rising; called at most about twice a second.

        What it raises ends the work: an attempt that was fenced out must not go on.
        """
        ...

    def cancelled(self) -> bool:
        """Whether the job is to stop and to take away what it has stored; asked about four times a second.

        What it raises ends the work, too, and leaves what is stored: it may be another attempt's.
        """
        ...


class WorkStorage(Protocol):
    """The functions of `LibraryStorage` that the work uses; errors are `LibraryError`s."""

    def download_file(
        self, bucket: str, key: str, path: Path, on_progress: OnTransfer | None = None
    ) -> object:
        """Write the object to `path`, which appears complete or not at all."""
        ...

    def upload_file(
        self,
        path: Path,
        bucket: str,
        key: str,
        content_type: str = "",
        on_progress: OnTransfer | None = None,
    ) -> object:
        """Store the file under `key`, which appears complete or not at all."""
        ...

    def delete_object(self, bucket: str, key: str) -> None:
        """Take the object away; one that is not there is no error."""
        ...


class JobCancelledError(LibraryError):
    """CANCELLED: the job's cancellation stopped the work."""

    def __init__(self) -> None:
        super().__init__(LibraryErrorCode.CANCELLED, "The job was cancelled.", "Retry it, or create another.")
