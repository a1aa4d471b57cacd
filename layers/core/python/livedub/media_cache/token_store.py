"""A secret with a writer's token, changed as a whole: what else it holds stays as it is."""

from __future__ import annotations

import json
from collections.abc import Callable, Mapping
from typing import Any, cast

from livedub.errors import ConfigurationError
from livedub.supervision.aws_client import aws_client, aws_errors


class TokenStore:
    """Secrets Manager; AWS_ENDPOINT_URL switches it to another address. Values are in no error."""

    def __init__(self, secrets_manager: Any) -> None:
        self._secrets_manager = secrets_manager

    @classmethod
    def connect(cls) -> TokenStore:
        """On the process's own client."""
        return cls(aws_client("secretsmanager"))

    def change(self, secret: str, change: Callable[[Mapping[str, str]], Mapping[str, str]]) -> None:
        """Put what `change` makes of the secret's members into it.

        Raises:
            StoreUnavailableError: AWS did not answer, or refuses; also where there is no such secret.
            ConfigurationError: the secret is no JSON object of strings, or `change` refuses it.
        """
        with aws_errors(f"Reading secret {secret}"):
            answer = self._secrets_manager.get_secret_value(SecretId=secret)
        changed = json.dumps(dict(change(_members(secret, str(answer.get("SecretString", ""))))))
        with aws_errors(f"Writing secret {secret}"):
            self._secrets_manager.put_secret_value(SecretId=secret, SecretString=changed)


def _members(secret: str, text: str) -> dict[str, str]:
    try:
        held: Any = json.loads(text)
    except ValueError:
        held = None
    if not isinstance(held, dict) or not all(
        isinstance(value, str) for value in cast("dict[str, Any]", held).values()
    ):
        # Without the cause: its text quotes the secret.
        raise ConfigurationError(
            f"Secret {secret} is no JSON object of strings.", remedy="Name one that holds a writer's token."
        )
    return cast("dict[str, str]", held)
