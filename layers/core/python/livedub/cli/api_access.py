"""Where `livedub streams` finds the API and its token: the environment, else what a stack on this machine left."""

from __future__ import annotations

import json
import os
from collections.abc import Generator, Mapping
from contextlib import contextmanager, suppress
from dataclasses import dataclass, field
from pathlib import Path

from livedub.errors import ConfigurationError
from livedub.private_file import write_private

URL_VARIABLE = "LIVEDUB_API_URL"
TOKEN_VARIABLE = "LIVEDUB_API_TOKEN"  # noqa: S105 - the name of the variable

_FILE = Path("livedub") / "api.json"


@dataclass(frozen=True, slots=True)
class ApiAccess:
    """Address and bearer token of a stream API."""

    url: str
    token: str = field(repr=False)

    def export_lines(self) -> list[str]:
        """What a shell needs for `livedub streams` to reach this API."""
        return [f"export {URL_VARIABLE}={self.url}", f"export {TOKEN_VARIABLE}={self.token}"]


def find_access(environment: Mapping[str, str]) -> ApiAccess:
    """The API of the environment, else of the stack that runs on this machine.

    Raises:
        ConfigurationError: neither is there, only half of it, or the file cannot be read.
    """
    url, token = environment.get(URL_VARIABLE, ""), environment.get(TOKEN_VARIABLE, "")
    if url and token:
        return ApiAccess(url, token)
    if url or token:
        missing = TOKEN_VARIABLE if url else URL_VARIABLE
        raise ConfigurationError(f"{missing} is not set.", remedy="Set both, or neither.")
    path = access_file(environment)
    try:
        kept = json.loads(path.read_text(encoding="utf-8"))
        return ApiAccess(str(kept["api_url"]), str(kept["api_token"]))
    except FileNotFoundError as error:
        raise ConfigurationError(
            f"No stream API is known: {URL_VARIABLE} and {TOKEN_VARIABLE} are not set, and no livedub runs here.",
            remedy="Start livedub up, or set both variables to those of your deployment.",
        ) from error
    except (OSError, ValueError, KeyError, TypeError) as error:
        raise ConfigurationError(
            f"{path} cannot be read: {error}.",
            remedy=f"Delete it and set {URL_VARIABLE} and {TOKEN_VARIABLE}.",
        ) from error


def access_file(environment: Mapping[str, str]) -> Path:
    """Where a stack leaves its access: readable for its user alone, gone when the stack ends."""
    state = environment.get("XDG_STATE_HOME", "")
    return (Path(state) if state else Path.home() / ".local" / "state") / _FILE


@contextmanager
def shared_access(access: ApiAccess, environment: Mapping[str, str]) -> Generator[None]:
    """Let other commands of this user find the API while the block runs."""
    leave_access(access, environment)
    try:
        yield
    finally:
        forget_access(access, environment)


def leave_access(access: ApiAccess, environment: Mapping[str, str]) -> Path:
    """Write the access for other commands of this user; replaces what an earlier stack left."""
    path = access_file(environment)
    content = json.dumps({"api_url": access.url, "api_token": access.token, "pid": os.getpid()})
    write_private(path, content)
    return path


def forget_access(access: ApiAccess, environment: Mapping[str, str]) -> None:
    """Remove what `leave_access` wrote, unless another stack has written its own meanwhile."""
    path = access_file(environment)
    with suppress(OSError, ValueError):
        if json.loads(path.read_text(encoding="utf-8")).get("api_token") == access.token:
            path.unlink(missing_ok=True)
