"""The S3 client of the library, and botocore's errors as the library's own."""

from __future__ import annotations

import functools
from collections.abc import Generator
from contextlib import contextmanager, suppress
from datetime import datetime
from typing import Any, cast

from livedub.library.library_errors import (
    AccessDeniedError,
    BadKeyError,
    MissingBucketError,
    MissingKeyError,
    SourceChangedError,
    StorageRefusedError,
    StorageUnavailableError,
)
from livedub.library.library_settings import LibrarySettings

_CONNECT_TIMEOUT_S = 5
_READ_TIMEOUT_S = 60
"""A server that puts a large upload together says nothing meanwhile."""
_ATTEMPTS = 3
_CONNECTIONS = 32

_MISSING_KEY = frozenset({"NoSuchKey", "404", "NotFound"})
_DENIED = frozenset(
    {
        "403",
        "AccessDenied",
        "AllAccessDisabled",
        "ExpiredToken",
        "Forbidden",
        "InvalidAccessKeyId",
        "InvalidToken",
        "SignatureDoesNotMatch",
    }
)
_BUSY = frozenset(
    {"500", "503", "InternalError", "RequestTimeout", "ServiceUnavailable", "SlowDown", "ThrottlingException"}
)
_BAD_KEY = frozenset({"KeyTooLongError", "XMinioInvalidObjectName"})
"""Servers that keep objects as files have rules besides S3's: 255 bytes between two slashes."""
_CHANGED = frozenset({"412", "PreconditionFailed"})


def build_s3_client(settings: LibrarySettings) -> Any:
    """A client for `settings`; it may be used from several threads.

    boto3 loads here and not at import, because loading it takes longer than everything else.
    """
    import boto3  # noqa: PLC0415 - see above # pyright: ignore[reportMissingTypeStubs]
    import botocore.session  # noqa: PLC0415 # pyright: ignore[reportMissingTypeStubs]
    from botocore.config import Config  # noqa: PLC0415 # pyright: ignore[reportMissingTypeStubs]

    core = cast("Any", botocore.session).get_session()
    core.get_component("response_parser_factory").set_parser_defaults(timestamp_parser=_timestamp)
    session_of = functools.partial(cast("Any", boto3).Session, botocore_session=core)
    keys = settings.static_keys
    if keys is not None:
        access_key_id, secret, token = keys
        session = session_of(
            aws_access_key_id=access_key_id,
            aws_secret_access_key=secret,
            aws_session_token=token or None,
            region_name=settings.region,
        )
    else:
        session = session_of(profile_name=settings.profile or None, region_name=settings.region)
    config = Config(
        signature_version="s3v4",
        connect_timeout=_CONNECT_TIMEOUT_S,
        read_timeout=_READ_TIMEOUT_S,
        retries={"mode": "standard", "total_max_attempts": _ATTEMPTS},
        max_pool_connections=_CONNECTIONS,
        tcp_keepalive=True,
        # A server of one's own seldom has a name per bucket.
        s3={"addressing_style": "path" if settings.endpoint_url else "auto"},
    )
    return session.client("s3", endpoint_url=settings.endpoint_url or None, config=config)


def _timestamp(value: Any) -> datetime:
    """A listing's times, read the quick way: botocore's own costs more than the rest of a listing together."""
    if isinstance(value, str) and value.endswith("Z"):
        with suppress(ValueError):
            return datetime.fromisoformat(f"{value[:-1]}+00:00")
    from botocore import utils  # noqa: PLC0415 # pyright: ignore[reportMissingTypeStubs]

    return cast("Any", utils).parse_timestamp(value)


@contextmanager
def s3_errors(client: Any, doing: str, bucket: str, key: str = "") -> Generator[None]:
    """Turn botocore's errors into the library's; `doing` says what was asked for, such as "reading in/a.mp4".

    Raises:
        MissingBucketError: the bucket does not exist.
        MissingKeyError: the bucket does, the object does not.
        AccessDeniedError: the key is unknown, the signature wrong, or the action not allowed.
        BadKeyError: the server has rules for keys besides ours.
        SourceChangedError: the object is not the one that was asked for any more.
        StorageUnavailableError: nobody answers, or the answer is to come later.
        StorageRefusedError: anything else that the server says.
    """
    from botocore.exceptions import (  # noqa: PLC0415 # pyright: ignore[reportMissingTypeStubs]
        BotoCoreError,
        ClientError,
        HTTPClientError,
        NoCredentialsError,
        ParamValidationError,
        PartialCredentialsError,
    )
    from botocore.parsers import ResponseParserError  # noqa: PLC0415 # pyright: ignore[reportMissingTypeStubs]

    try:
        yield
    except ClientError as error:
        raise _refusal(client, error, doing, bucket, key) from error
    except (NoCredentialsError, PartialCredentialsError) as error:
        raise AccessDeniedError(f"{doing}: there are no credentials") from error
    except ParamValidationError as error:
        raise StorageRefusedError(doing, str(error)) from error
    except (HTTPClientError, BotoCoreError, ResponseParserError) as error:
        raise StorageUnavailableError(doing, str(error)) from error


def error_code(error: Any) -> str:
    """The server's name for a ClientError, such as `NoSuchUpload`."""
    return str(error.response.get("Error", {}).get("Code", ""))


def _refusal(client: Any, error: Any, doing: str, bucket: str, key: str) -> Exception:
    code = error_code(error)
    if code == "NoSuchBucket" or (code in _MISSING_KEY and _is_missing(client, bucket)):
        return MissingBucketError(bucket)
    if code in _DENIED:
        return AccessDeniedError(f"{doing} ({code})")
    if code in _BUSY:
        return StorageUnavailableError(doing, str(error))
    about_the_object = _about_the_object(code, bucket, key)
    return about_the_object or StorageRefusedError(doing, str(error))


def _about_the_object(code: str, bucket: str, key: str) -> Exception | None:
    if code in _MISSING_KEY:
        return MissingKeyError(bucket, key)
    if code in _BAD_KEY:
        return BadKeyError(key, "is none to this storage, where 255 bytes are allowed between two slashes")
    return SourceChangedError(bucket, key) if code in _CHANGED else None


def _is_missing(client: Any, bucket: str) -> bool:
    # The answer to HEAD has no body that could tell a missing bucket from a missing object.
    from botocore.exceptions import BotoCoreError  # noqa: PLC0415 # pyright: ignore[reportMissingTypeStubs]

    try:
        return not has_bucket(client, bucket)
    except BotoCoreError:
        return False


def has_bucket(client: Any, bucket: str) -> bool:
    """Whether there is such a bucket, as far as the server says.

    Raises:
        BotoCoreError: nobody answers.
    """
    try:
        client.head_bucket(Bucket=bucket)
    except client.exceptions.ClientError as error:
        return error_code(error) not in _MISSING_KEY
    return True
