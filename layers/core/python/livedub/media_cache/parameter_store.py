"""The cache host's variables in AWS, and the bundle that consumers read there."""

from __future__ import annotations

import json
from datetime import datetime
from typing import Any

from livedub.errors import ConfigurationError
from livedub.media_cache.writer_tokens import HOSTS_TOKEN, accepted_tokens
from livedub.supervision.aws_client import aws_client, aws_errors, error_code

PARAMETERS = ("MEDIA_TLS_FULLCHAIN_B64", "MEDIA_DATA_DIR", "MEDIA_TLS_CERT_HOST_PATH", "MEDIA_TLS_SAN_DNS")
SECRETS = ("MEDIA_TLS_PRIVKEY_B64", HOSTS_TOKEN)
CONSUMERS = ("voice", "api")
BUNDLE = "TTS_MEDIA_CACHE_CA_BUNDLE"


class ParameterStore:
    """SSM and Secrets Manager; AWS_ENDPOINT_URL switches both to another address. Values are in no error."""

    def __init__(self, ssm: Any, secrets_manager: Any) -> None:
        self._ssm = ssm
        self._secrets_manager = secrets_manager

    @classmethod
    def connect(cls) -> ParameterStore:
        """On the process's own clients."""
        return cls(aws_client("ssm"), aws_client("secretsmanager"))

    def media_variables(self, namespace: str) -> dict[str, str]:
        """What there is of PARAMETERS and SECRETS, by name; empty values and absent ones are left out.

        Raises:
            StoreUnavailableError: AWS did not answer, or refuses.
            ConfigurationError: the secret is no JSON object of strings.
        """
        held = self._secret(f"{namespace}/media/secrets")
        return {**self._parameters(namespace), **{name: held[name] for name in SECRETS if name in held}}

    def writers_tokens(self, namespace: str) -> dict[str, str]:
        """What the host accepts of its writers, and of its own clean-up: tokens by name.

        Raises:
            StoreUnavailableError: AWS did not answer, or refuses.
            ConfigurationError: a secret is no JSON object, or a token cannot be used.
        """
        return accepted_tokens(self._secret(f"{namespace}/{part}/secrets") for part in ("media", "voice"))

    def bundles(self, prefix: str) -> dict[str, str]:
        """The consumers' bundles as they stand, by parameter name; absent ones are empty.

        Raises:
            StoreUnavailableError: AWS did not answer, or refuses.
        """
        names = bundle_parameters(prefix)
        with aws_errors("Reading the consumers' bundles"):
            answer = self._ssm.get_parameters(Names=names, WithDecryption=True)
        found = {str(item["Name"]): str(item["Value"]) for item in answer["Parameters"]}
        return {name: found.get(name, "") for name in names}

    def bundles_changed_at(self, prefix: str) -> datetime | None:
        """When one of the consumers' bundles was changed last; None where there is none.

        Raises:
            StoreUnavailableError: AWS did not answer, or refuses.
        """
        with aws_errors("Reading the consumers' bundles"):
            answer = self._ssm.get_parameters(Names=bundle_parameters(prefix), WithDecryption=True)
        moments: list[datetime] = [item["LastModifiedDate"] for item in answer["Parameters"]]
        return max(moments, default=None)

    def publish_bundle(self, name: str, value: str) -> None:
        """Set one consumer's parameter.

        Raises:
            StoreUnavailableError: AWS did not answer, or refuses.
        """
        with aws_errors(f"Writing {name}"):
            # Two bundles with long RSA chains pass the 4 KB of a standard parameter; the tier follows the size.
            self._ssm.put_parameter(
                Name=name, Value=value, Type="String", Overwrite=True, Tier="Intelligent-Tiering"
            )

    def _parameters(self, namespace: str) -> dict[str, str]:
        names = {f"/{namespace}/media/{name}": name for name in PARAMETERS}
        with aws_errors(f"Reading /{namespace}/media/"):
            answer = self._ssm.get_parameters(Names=list(names), WithDecryption=True)
        found = {names[item["Name"]]: str(item["Value"]) for item in answer["Parameters"]}
        return {name: value for name, value in found.items() if value.strip()}

    def _secret(self, secret_id: str) -> dict[str, str]:
        """The members that are text and not empty; none where there is no such secret."""
        with aws_errors(f"Reading secret {secret_id}"):
            try:
                answer = self._secrets_manager.get_secret_value(SecretId=secret_id)
            except self._secrets_manager.exceptions.ClientError as error:
                if error_code(error) == "ResourceNotFoundException":
                    return {}
                raise
        try:
            held = json.loads(str(answer.get("SecretString", "")))
        except ValueError:
            held = None
        if not isinstance(held, dict):
            # Without the cause: its text quotes the secret.
            raise ConfigurationError(
                f"Secret {secret_id} is no JSON object.",
                remedy=f'Put in an object of strings, such as {{"{HOSTS_TOKEN}": "..."}}.',
            )
        values: dict[Any, Any] = held  # pyright: ignore[reportUnknownVariableType]
        return {
            str(name): value for name, value in values.items() if isinstance(value, str) and value.strip()
        }


def bundle_parameters(prefix: str) -> list[str]:
    """The names of the consumers' parameters below `prefix`."""
    return [f"{prefix}/{consumer}/{BUNDLE}" for consumer in CONSUMERS]
