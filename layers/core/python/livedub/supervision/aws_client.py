"""The one place where AWS clients are built: on first use, with bounded waits, by boto3's own address rules."""

from __future__ import annotations

import functools
from collections.abc import Generator
from contextlib import contextmanager
from typing import Any, cast

from livedub.supervision.store_errors import StoreUnavailableError

_CONNECT_TIMEOUT_S = 2
_READ_TIMEOUT_S = 5
_ATTEMPTS = 3
"""Of one call: the whole stays below the 29 s that API Gateway waits and the 60 s that the state machine waits."""


@functools.cache
def aws_client(service: str) -> Any:
    """The process's client of `service`. Address, region and credentials come from boto3's environment.

    boto3 loads here and not at import, because loading it takes longer than everything else a function loads.
    """
    import boto3  # noqa: PLC0415 - see above # pyright: ignore[reportMissingTypeStubs]
    from botocore.config import Config  # noqa: PLC0415 # pyright: ignore[reportMissingTypeStubs]

    config = Config(
        connect_timeout=_CONNECT_TIMEOUT_S,
        read_timeout=_READ_TIMEOUT_S,
        retries={"mode": "standard", "total_max_attempts": _ATTEMPTS},
    )
    return cast("Any", boto3).client(service, config=config)


@contextmanager
def aws_errors(doing: str) -> Generator[None]:
    """Turn botocore's errors into ours; what callers decide on they catch themselves, inside.

    Raises:
        StoreUnavailableError: an AWS call failed; `doing` says what it was for.
    """
    from botocore.exceptions import BotoCoreError, ClientError  # noqa: PLC0415 # pyright: ignore[reportMissingTypeStubs]
    from botocore.parsers import ResponseParserError  # noqa: PLC0415 # pyright: ignore[reportMissingTypeStubs]

    try:
        yield
    except (BotoCoreError, ClientError, ResponseParserError) as error:
        raise StoreUnavailableError(
            f"{doing} failed: {error}.",
            remedy="Check the function's or host's permissions, and that the service is reachable.",
        ) from error


def error_code(error: Any) -> str:
    """The service's name for a ClientError, such as `ConditionalCheckFailedException`."""
    return str(error.response.get("Error", {}).get("Code", ""))
