"""Where `livedub library` finds the library: the environment, else what a stack on this machine left."""

from __future__ import annotations

import json
from collections.abc import Generator, Mapping
from contextlib import contextmanager, suppress
from pathlib import Path

from livedub.errors import ConfigurationError
from livedub.private_file import write_private

API_URL = "LIBRARY_API_URL"
API_TOKEN = "LIBRARY_API_TOKEN"  # noqa: S105 - the name of the variable
_OF_THE_LIBRARY = (
    API_URL,
    API_TOKEN,
    "S3_ENDPOINT_URL",
    "S3_BUCKET_IN",
    "S3_BUCKET_OUT",
    "S3_ACCESS_KEY_ID",
    "S3_SECRET_ACCESS_KEY",
)
_FILE = Path("livedub") / "library.json"


def find_library(environment: Mapping[str, str]) -> dict[str, str]:
    """What says where the library is: variables of `environment` or, where none is set, of the stack that runs here.

    All of one or all of the other: half of each would read from one place and write to another.

    Raises:
        ConfigurationError: what the stack left cannot be read.
    """
    given = {name: environment[name] for name in _OF_THE_LIBRARY if environment.get(name)}
    if given:
        return given
    path = library_file(environment)
    try:
        kept = json.loads(path.read_text(encoding="utf-8"))["environment"]
        return {name: str(kept[name]) for name in _OF_THE_LIBRARY if name in kept}
    except FileNotFoundError:
        return {}
    except (OSError, ValueError, KeyError, TypeError) as error:
        raise ConfigurationError(
            f"{path} cannot be read: {error}.", remedy="Delete it, and set the variables of .env.example."
        ) from error


def library_file(environment: Mapping[str, str]) -> Path:
    """Where a stack leaves it: readable for its user alone, gone when the stack ends."""
    state = environment.get("XDG_STATE_HOME", "")
    return (Path(state) if state else Path.home() / ".local" / "state") / _FILE


@contextmanager
def shared_library(library: Mapping[str, str], environment: Mapping[str, str]) -> Generator[None]:
    """Let other commands of this user find the library while the block runs."""
    path = library_file(environment)
    content = json.dumps(
        {"environment": {name: library[name] for name in _OF_THE_LIBRARY if name in library}}
    )
    write_private(path, content)
    try:
        yield
    finally:
        # Another stack may have left its own meanwhile.
        with suppress(OSError):
            if path.read_text(encoding="utf-8") == content:
                path.unlink(missing_ok=True)
