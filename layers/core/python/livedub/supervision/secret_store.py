"""Secrets from AWS Secrets Manager, kept in memory for a minute so that a rotated one is noticed."""

from __future__ import annotations

import time
from collections.abc import Callable
from typing import Any

from livedub.errors import ConfigurationError
from livedub.supervision.aws_client import aws_client, aws_errors
from livedub.supervision.store_errors import StoreUnavailableError

_KEEP_S = 60.0
_PATIENCE_S = 10.0
_SHORTEST_KEY_BYTES = 16


class SecretStore:
    """Reads secrets by name. Values never appear in errors or representations."""

    def __init__(self, client: Any, *, monotonic: Callable[[], float] = time.monotonic) -> None:
        self._client = client
        self._monotonic = monotonic
        self._kept: dict[str, tuple[float, str]] = {}

    @classmethod
    def connect(cls) -> SecretStore:
        """A store on the process's own client."""
        return cls(aws_client("secretsmanager"))

    def text(self, name: str) -> str:
        """The current value of secret `name`, without surrounding white space.

        While Secrets Manager does not answer, the last value known stays good.

        Raises:
            StoreUnavailableError: it did not answer, and there is no value from before.
            ConfigurationError: the secret is empty.
        """
        read_at_s, value = self._kept.get(name, (0.0, ""))
        if value and self._monotonic() - read_at_s < _KEEP_S:
            return value
        try:
            with aws_errors(f"Reading secret {name}"):
                answer = self._client.get_secret_value(SecretId=name)
        except StoreUnavailableError:
            if not value:
                raise
            # Asked again soon, but not by every request: each would wait for the same silence.
            self._kept[name] = (self._monotonic() - _KEEP_S + _PATIENCE_S, value)
            return value
        value = str(answer.get("SecretString", "")).strip()
        if not value:
            raise ConfigurationError(f"Secret {name} is empty.", remedy="Put a value into it.")
        self._kept[name] = (self._monotonic(), value)
        return value

    def keys(self, name: str) -> tuple[bytes, ...]:
        """The signing keys in secret `name`: one hex key a line, several while they are being exchanged.

        Raises:
            StoreUnavailableError: as `text`.
            ConfigurationError: a line is no hex key of at least 16 bytes.
        """
        try:
            keys = tuple(bytes.fromhex(line) for line in self.text(name).split())
        except ValueError:
            keys = ()
        if not keys or min(map(len, keys)) < _SHORTEST_KEY_BYTES:
            # Without the cause: its text quotes the key.
            raise ConfigurationError(
                f"Secret {name} holds no signing keys.",
                remedy="Put one key of 32 or more hex digits on each line.",
            ) from None
        return keys
