"""Uploads in parts, side by side. The storage itself remembers what has come, so a new try needs no notes of its own."""

from __future__ import annotations

import logging
from collections.abc import Callable
from contextlib import suppress
from dataclasses import dataclass
from typing import Any

from livedub.library.library_errors import LibraryError
from livedub.library.s3_client import error_code, s3_errors
from livedub.library.transfers import (
    Piece,
    Progress,
    Tally,
    crc32_of,
    md5_of,
    pieces_of,
    read_piece,
    run_side_by_side,
)

_STALE = frozenset({"NoSuchUpload", "InvalidPart", "InvalidPartOrder", "EntityTooSmall"})
"""Somebody else has finished, ended or written into the upload that we took up."""

log = logging.getLogger(__name__)


@dataclass(frozen=True, slots=True)
class FileUpload:
    """A file on its way.

    Attributes:
        bucket: where it goes.
        key: what it will be called.
        content_type: what HTTP will call it.
        fd: the open file.
        size_bytes: its length.
        piece_bytes: what one part holds, if there are not too many.
        on_progress: see `transfers.Progress`.
        before_end: called before the object appears; may refuse by raising.
    """

    bucket: str
    key: str
    content_type: str
    fd: int
    size_bytes: int
    piece_bytes: int
    on_progress: Progress | None
    before_end: Callable[[], None]


@dataclass(frozen=True, slots=True)
class _Part:
    """A part in the storage."""

    etag: str
    size_bytes: int


def send_in_parts(client: Any, upload: FileUpload, *, resume: bool) -> None:
    """Store a file in parts.

    With `resume`, parts of an unfinished upload of the same key count where they are the file's by length and MD5,
    and stay in the storage when this try fails, too; without it a failure takes them away.

    Raises:
        ClientError and others of botocore: for the caller to translate.
        EOFError: the file has become shorter.
        Whatever the callbacks raise.
    """
    found = _unfinished(client, upload) if resume else None
    if found is not None:
        try:
            _send(client, upload, found)
        except client.exceptions.ClientError as error:
            if error_code(error) not in _STALE:
                raise
            log.info("an unfinished upload of %s/%s is of no use any more", upload.bucket, upload.key)
        else:
            return
    fresh = _begin(client, upload)
    try:
        _send(client, upload, fresh)
    except BaseException:
        if not resume:
            _abort(client, upload, fresh)
        raise


def _begin(client: Any, upload: FileUpload) -> str:
    answer = client.create_multipart_upload(
        Bucket=upload.bucket, Key=upload.key, ContentType=upload.content_type, ChecksumAlgorithm="CRC32"
    )
    return str(answer["UploadId"])


def _unfinished(client: Any, upload: FileUpload) -> str | None:
    """The latest unfinished upload of this key."""
    answer = client.list_multipart_uploads(Bucket=upload.bucket, Prefix=upload.key)
    begun = [item for item in answer.get("Uploads", ()) if item["Key"] == upload.key]
    return str(max(begun, key=lambda item: item["Initiated"])["UploadId"]) if begun else None


def _send(client: Any, upload: FileUpload, upload_id: str) -> None:
    where = {"Bucket": upload.bucket, "Key": upload.key, "UploadId": upload_id}
    held = _held(client, where)
    listed: dict[int, dict[str, Any]] = {}

    def work(piece: Piece, tally: Tally) -> None:
        tally.check()
        data = read_piece(upload.fd, piece)
        number = piece.number + 1
        crc32 = crc32_of(data)
        there = held.get(number)
        if there is None or there.size_bytes != len(data) or there.etag.strip('"') != md5_of(data):
            answer = client.upload_part(**where, PartNumber=number, Body=data, ChecksumCRC32=crc32)
            there = _Part(str(answer["ETag"]), len(data))
        # The end must tell every checksum again, and not every server lists them.
        listed[number] = {"PartNumber": number, "ETag": there.etag, "ChecksumCRC32": crc32}
        tally.add(len(data))

    run_side_by_side(
        pieces_of(upload.size_bytes, upload.piece_bytes), work, upload.size_bytes, 0, upload.on_progress
    )
    upload.before_end()
    parts = [listed[number] for number in sorted(listed)]
    client.complete_multipart_upload(**where, MultipartUpload={"Parts": parts})


def _held(client: Any, where: dict[str, str]) -> dict[int, _Part]:
    """The parts that have come, by number."""
    held: dict[int, _Part] = {}
    position: dict[str, int] = {}
    while True:
        page = client.list_parts(**where, **position)
        for item in page.get("Parts", ()):
            held[int(item["PartNumber"])] = _Part(str(item["ETag"]), int(item["Size"]))
        if not page.get("IsTruncated"):
            return held
        position = {"PartNumberMarker": int(page["NextPartNumberMarker"])}


def _abort(client: Any, upload: FileUpload, upload_id: str) -> None:
    # What made the upload fail matters more than a failure to clean up after it.
    with suppress(LibraryError), s3_errors(client, "ending an upload", upload.bucket, upload.key):
        client.abort_multipart_upload(Bucket=upload.bucket, Key=upload.key, UploadId=upload_id)
