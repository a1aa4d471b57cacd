"""Settings that hosts share: variables that lie in Parameter Store and Secrets Manager, where they change while hosts run.

A parameter's variable is the last part of its name, a secret is a JSON object of variables. What a deployment does not know
(a certificate's authority, the endpoint of an STS service, an API key) reaches hosts this way, and only this way.
"""

from __future__ import annotations

import json
import re
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, cast

from livedub.errors import ConfigurationError
from livedub.supervision.aws_client import aws_client, aws_errors, error_code

_PATH = re.compile(r"(/[A-Za-z0-9_.-]+)+")
_SECRET = re.compile(r"[A-Za-z0-9/_+=.@:-]+")


@dataclass(frozen=True, slots=True)
class SharedSources:
    """Where to look.

    Attributes:
        parameters: paths, `/livedub/prod/sts`: every parameter right below counts.
        secrets: names or ARNs.
        prefixes: how the variables begin that are wanted; nothing else is taken, whatever a secret holds beside it.
    """

    parameters: tuple[str, ...] = ()
    secrets: tuple[str, ...] = ()
    prefixes: tuple[str, ...] = ("STS_", "TTS_MEDIA_CACHE_")

    def __post_init__(self) -> None:
        """Refuse what no call would accept."""
        for path in self.parameters:
            if not _PATH.fullmatch(path):
                raise ConfigurationError(
                    f"{path!r} is no path of parameters.", remedy="Give one such as /livedub/prod/sts."
                )
        for secret in self.secrets:
            if not _SECRET.fullmatch(secret):
                raise ConfigurationError(
                    f"{secret!r} is no name of a secret.", remedy="Give one such as livedub/prod/sts/secrets."
                )

    @classmethod
    def listed(cls, parameters: str, secrets: str) -> SharedSources:
        """From comma-separated lists.

        Raises:
            ConfigurationError: an entry is no path, or no name.
        """
        return cls(_entries(parameters), _entries(secrets))

    def __bool__(self) -> bool:
        """Whether there is anywhere to look."""
        return bool(self.parameters or self.secrets)


class SharedSettingsStore:
    """Reads both services; AWS_ENDPOINT_URL switches them to another address. Values are in no error."""

    def __init__(self, ssm: Any, secrets_manager: Any) -> None:
        self._ssm = ssm
        self._secrets_manager = secrets_manager

    @classmethod
    def connect(cls) -> SharedSettingsStore:
        """On the process's own clients."""
        return cls(aws_client("ssm"), aws_client("secretsmanager"))

    def read(self, sources: SharedSources) -> dict[str, str]:
        """The variables as they stand; empty and absent ones are left out. A later source wins, secrets last.

        Raises:
            StoreUnavailableError: AWS did not answer, or refuses.
            ConfigurationError: a secret is no JSON object.
        """
        found: dict[str, str] = {}
        for path in sources.parameters:
            found.update(self._parameters(path))
        for secret in sources.secrets:
            found.update(self._secret(secret))
        wanted = {name: value.strip() for name, value in found.items() if name.startswith(sources.prefixes)}
        return {name: value for name, value in wanted.items() if value}

    def _parameters(self, path: str) -> dict[str, str]:
        found: dict[str, str] = {}
        more: dict[str, Any] = {}
        while True:
            with aws_errors(f"Reading {path}/"):
                answer = self._ssm.get_parameters_by_path(Path=path, WithDecryption=True, **more)
            found.update({str(p["Name"]).rpartition("/")[2]: str(p["Value"]) for p in answer["Parameters"]})
            if not answer.get("NextToken"):
                return found
            more = {"NextToken": answer["NextToken"]}

    def _secret(self, secret: str) -> dict[str, str]:
        with aws_errors(f"Reading secret {secret}"):
            try:
                answer = self._secrets_manager.get_secret_value(SecretId=secret)
            except self._secrets_manager.exceptions.ClientError as error:
                if error_code(error) == "ResourceNotFoundException":
                    return {}
                raise
        return _object(secret, str(answer.get("SecretString", "")))


def _object(secret: str, text: str) -> dict[str, str]:
    try:
        held = json.loads(text)
    except ValueError:
        held = None
    if not isinstance(held, dict):
        # Without the cause: its text quotes the secret.
        raise ConfigurationError(
            f"Secret {secret} is no JSON object.",
            remedy='Put in an object of strings: {"STS_API_KEY": "..."}.',
        )
    values = cast("Mapping[Any, Any]", held)
    return {str(name): value for name, value in values.items() if isinstance(value, str)}


def _entries(listed: str) -> tuple[str, ...]:
    return tuple(entry.strip() for entry in listed.split(",") if entry.strip())
