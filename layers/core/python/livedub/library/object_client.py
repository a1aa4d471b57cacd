"""Objects in S3-compatible storage, one request each: what is there, reading ranges, small writes, deleting, URLs."""

from __future__ import annotations

import json
import logging
from collections.abc import Collection, Generator, Iterable, Iterator
from contextlib import AbstractContextManager
from typing import Any, Literal

from livedub.library.library_errors import (
    BadKeyError,
    LibraryError,
    LibraryErrorCode,
    SourceChangedError,
    StorageRefusedError,
    StorageUnavailableError,
)
from livedub.library.library_settings import LibrarySettings
from livedub.library.media_types import content_type_of
from livedub.library.object_keys import ObjectInfo, check_key, check_prefix, has_extension
from livedub.library.s3_client import build_s3_client, error_code, has_bucket, s3_errors
from livedub.library.transfers import MIB

Method = Literal["GET", "PUT"]

LONGEST_URL_LIFE_S = 7 * 24 * 3_600
"""S3's own limit."""
_READ_BYTES = MIB
_FETCH_ATTEMPTS = 5
_DELETED_AT_ONCE = 1_000
_OURS = frozenset({"BucketAlreadyOwnedByYou", "BucketAlreadyExists"})
_NAMELESS_REGION = "us-east-1"
"""The one region that must not be named where a bucket is made."""

log = logging.getLogger(__name__)


class ObjectClient:
    """The storage that `settings` name. Methods may be called from any thread; `client` is a boto3 client for S3."""

    def __init__(self, settings: LibrarySettings, client: Any = None) -> None:
        self.settings = settings
        self._client = client if client is not None else build_s3_client(settings)

    @property
    def bucket_in(self) -> str:
        """The bucket of what comes in."""
        return self.settings.bucket_in

    @property
    def bucket_out(self) -> str:
        """The bucket of what jobs make."""
        return self.settings.bucket_out

    def ensure_buckets(self, *, public_read: bool = False) -> None:
        """Create both buckets where they are missing; `public_read` lets everybody read files, but not list them.

        For one machine only: in AWS the deployment makes them, and keeps them private.

        Raises:
            LibraryError: the storage does not answer, or refuses.
        """
        for bucket in (self.bucket_in, self.bucket_out):
            with self._errors(f"creating the bucket {bucket}", bucket):
                if not has_bucket(self._client, bucket):
                    self._create(bucket)
                if public_read:
                    self._client.put_bucket_policy(Bucket=bucket, Policy=_public_policy(bucket))

    def check(self) -> None:
        """See whether both buckets can be reached.

        Raises:
            LibraryError: one cannot.
        """
        for bucket in (self.bucket_in, self.bucket_out):
            with self._errors(f"looking for the bucket {bucket}", bucket):
                self._client.head_bucket(Bucket=bucket)

    def list_objects(
        self, bucket: str, prefix: str = "", extensions: Collection[str] | None = None
    ) -> Iterator[ObjectInfo]:
        """Every object whose key begins with `prefix`, in the order of the keys' UTF-8; one page is held at a time.

        Args:
            bucket: where.
            prefix: what keys begin with; "" lists all.
            extensions: such as {".mp4"}; None takes all. Keys that end with `/` mark folders and never come.

        Raises:
            LibraryError: the storage does not answer, or refuses.
        """
        check_prefix(prefix)
        doing = f"listing {bucket}/{prefix}"
        position: dict[str, str] = {}
        while True:
            with self._errors(doing, bucket):
                page = self._client.list_objects_v2(Bucket=bucket, Prefix=prefix, **position)
            for item in page.get("Contents", ()):
                key = str(item["Key"])
                if key.endswith("/") or (extensions is not None and not has_extension(key, extensions)):
                    continue
                yield ObjectInfo(key, int(item["Size"]), _bare(item["ETag"]), item["LastModified"])
            if not page.get("IsTruncated"):
                return
            position = {"ContinuationToken": page["NextContinuationToken"]}

    def stat(self, bucket: str, key: str) -> ObjectInfo:
        """What is known of one object.

        Raises:
            MissingKeyError: there is none.
            LibraryError: the key is malformed, or the storage does not answer or refuses.
        """
        check_key(key)
        with self._errors(f"looking at {bucket}/{key}", bucket, key):
            head = self._client.head_object(Bucket=bucket, Key=key)
        return _info(key, head, int(head["ContentLength"]))

    def read_range(self, bucket: str, info: ObjectInfo, start: int, end: int) -> bytes:
        """The bytes from `start` up to, not including, `end` of an object that is known already; for small things.

        Raises:
            MissingKeyError: it is gone.
            SourceChangedError: another one is there.
            LibraryError: the storage does not answer or refuses.
        """
        return b"".join(self._fetch(bucket, info, start, min(end, info.size_bytes)))

    def put_bytes(self, data: bytes, bucket: str, key: str, content_type: str = "") -> None:
        """Store something small under `key`.

        Raises:
            LibraryError: the key is malformed, or the storage does not answer or refuses.
        """
        check_key(key)
        with self._errors(f"writing {bucket}/{key}", bucket, key):
            self._client.put_object(
                Bucket=bucket,
                Key=key,
                Body=data,
                ContentType=content_type or content_type_of(key),
                ChecksumAlgorithm="CRC32",
            )

    def delete_object(self, bucket: str, key: str) -> None:
        """Take one object away; one that is not there is no error.

        Raises:
            LibraryError: the key is malformed, or the storage does not answer or refuses.
        """
        check_key(key)
        with self._errors(f"deleting {bucket}/{key}", bucket, key):
            self._client.delete_object(Bucket=bucket, Key=key)

    def delete_prefix(self, bucket: str, prefix: str) -> int:
        """Take away every object whose key begins with `prefix`, and say how many there were.

        Raises:
            BadKeyError: the prefix is empty: nobody means a whole bucket.
            LibraryError: the storage does not answer or refuses.
        """
        if not prefix:
            raise BadKeyError(prefix, "is empty, which would delete the whole bucket")
        count = 0
        for batch in _batches(self.list_objects(bucket, prefix), _DELETED_AT_ONCE):
            objects = [{"Key": info.key} for info in batch]
            with self._errors(f"deleting {bucket}/{prefix}", bucket):
                answer = self._client.delete_objects(
                    Bucket=bucket, Delete={"Objects": objects, "Quiet": True}
                )
            for refused in answer.get("Errors", ()):
                raise StorageRefusedError(
                    f"deleting {bucket}/{refused.get('Key')}", str(refused.get("Message"))
                )
            count += len(objects)
        return count

    def get_presigned_url(
        self, bucket: str, key: str, method: Method = "GET", expires_s: int = 3_600, content_type: str = ""
    ) -> str:
        """A URL that lets whoever has it read (GET) or store (PUT) this one object for `expires_s` seconds.

        For PUT with a `content_type` the sender must send just that header.

        Raises:
            LibraryError: the key is malformed, or the life is none (INVALID_REQUEST).
        """
        check_key(key)
        if not 1 <= expires_s <= LONGEST_URL_LIFE_S:
            raise LibraryError(
                LibraryErrorCode.INVALID_REQUEST,
                f"expires_s is {expires_s}: a URL lives 1 to {LONGEST_URL_LIFE_S} seconds.",
            )
        parameters = {"Bucket": bucket, "Key": key}
        if method == "PUT" and content_type:
            parameters["ContentType"] = content_type
        operation = "get_object" if method == "GET" else "put_object"
        with self._errors(f"signing a URL for {bucket}/{key}", bucket, key):
            return str(self._client.generate_presigned_url(operation, Params=parameters, ExpiresIn=expires_s))

    def _fetch(self, bucket: str, info: ObjectInfo, start: int, end: int) -> Generator[bytes]:
        """The bytes of a range; a connection that breaks is made again, from where it broke."""
        position = start
        for attempt in range(1, _FETCH_ATTEMPTS + 1):
            try:
                for data in self._body(bucket, info, position, end):
                    position += len(data)
                    yield data
            except StorageUnavailableError:
                if attempt == _FETCH_ATTEMPTS:
                    raise
                log.warning("reading %s/%s broke off at byte %d; asking again", bucket, info.key, position)
                continue
            return

    def _body(self, bucket: str, info: ObjectInfo, start: int, end: int) -> Iterator[bytes]:
        if start >= end:
            return
        with self._errors(f"reading {bucket}/{info.key}", bucket, info.key):
            answer = self._client.get_object(
                Bucket=bucket, Key=info.key, Range=f"bytes={start}-{end - 1}", IfMatch=f'"{info.etag}"'
            )
            if int(answer["ContentLength"]) != end - start:
                raise SourceChangedError(bucket, info.key)
            body = answer["Body"]
            try:
                while data := body.read(_READ_BYTES):
                    yield data
            finally:
                body.close()

    def _create(self, bucket: str) -> None:
        try:
            self._client.create_bucket(Bucket=bucket, **self._location())
        except self._client.exceptions.ClientError as error:
            if error_code(error) not in _OURS:  # somebody else was quicker
                raise

    def _errors(self, doing: str, bucket: str, key: str = "") -> AbstractContextManager[None]:
        return s3_errors(self._client, doing, bucket, key)

    def _location(self) -> dict[str, Any]:
        region = self.settings.region
        if region == _NAMELESS_REGION:
            return {}
        return {"CreateBucketConfiguration": {"LocationConstraint": region}}


def _public_policy(bucket: str) -> str:
    statement = {
        "Sid": "EverybodyReads",
        "Effect": "Allow",
        "Principal": "*",
        "Action": ["s3:GetObject"],
        "Resource": [f"arn:aws:s3:::{bucket}/*"],
    }
    return json.dumps({"Version": "2012-10-17", "Statement": [statement]})


def _info(key: str, answer: Any, size_bytes: int) -> ObjectInfo:
    return ObjectInfo(key, size_bytes, _bare(answer["ETag"]), answer["LastModified"])


def _bare(etag: Any) -> str:
    return str(etag).strip('"')


def _batches(infos: Iterable[ObjectInfo], size: int) -> Iterator[list[ObjectInfo]]:
    batch: list[ObjectInfo] = []
    for info in infos:
        batch.append(info)
        if len(batch) == size:
            yield batch
            batch = []
    if batch:
        yield batch
