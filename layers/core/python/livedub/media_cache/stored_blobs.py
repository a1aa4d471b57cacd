"""What lies on a media-cache host's disk, for whoever compares it with the catalogue there."""

from __future__ import annotations

import os
from collections.abc import Iterator
from pathlib import Path

from livedub.errors import InvalidInputError
from livedub.media_cache.cleanup import StoredBlob
from livedub.media_cache.key import parse_object_path


def stored_blobs(data_dir: Path) -> Iterator[StoredBlob]:
    """The objects under `MEDIA_DATA_DIR`, shard by shard; files with other names are none.

    Raises:
        InvalidInputError: the folder is no cache's, or cannot be read.
    """
    media = data_dir / "media"
    try:
        shards = sorted(entry.name for entry in os.scandir(media) if entry.is_dir(follow_symlinks=False))
        for shard in shards:
            with os.scandir(media / shard) as entries:
                yield from _blobs(shard, entries)
    except OSError as error:
        raise InvalidInputError(
            f"{media} cannot be read: {error.strerror}.",
            remedy="Give the folder that the media-cache host has as MEDIA_DATA_DIR, on that host.",
        ) from error


def _blobs(shard: str, entries: Iterator[os.DirEntry[str]]) -> Iterator[StoredBlob]:
    for entry in entries:
        path = parse_object_path(f"/media/{shard}/{entry.name}")
        if path is None:
            continue
        try:
            status = entry.stat(follow_symlinks=False)
        except FileNotFoundError:
            continue  # deleted meanwhile
        yield StoredBlob(path, status.st_size, status.st_mtime)
