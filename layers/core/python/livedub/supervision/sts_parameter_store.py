"""Where an environment's deployment keeps which speech-to-speech service there is, and its key."""

from __future__ import annotations

import json
from typing import Any

from livedub.errors import ConfigurationError
from livedub.supervision.aws_client import aws_client, aws_errors
from livedub.supervision.secret_store import SecretStore

SERVICE_URL = "STS_SERVICE_URL"
ENDPOINT_ID = "RUNPOD_ENDPOINT_ID"
API_KEY = "STS_API_KEY"


class StsParameterStore:
    """SSM and Secrets Manager; AWS_ENDPOINT_URL switches both to another address. Values are in no error."""

    def __init__(self, ssm: Any, secrets: SecretStore) -> None:
        self._ssm = ssm
        self._secrets = secrets

    @classmethod
    def connect(cls) -> StsParameterStore:
        """On the process's own clients."""
        return cls(aws_client("ssm"), SecretStore.connect())

    def text(self, parameter: str) -> str:
        """The value of a parameter, without surrounding white space; empty where there is none.

        Raises:
            StoreUnavailableError: AWS did not answer, or refuses.
        """
        return self._held([parameter]).get(parameter, "").strip()

    def api_key(self, secret: str) -> str:
        """STS_API_KEY out of the JSON object in `secret`.

        Raises:
            StoreUnavailableError: AWS did not answer, or refuses.
            ConfigurationError: the secret holds no such key.
        """
        try:
            held = json.loads(self._secrets.text(secret))
        except ValueError:
            held = None
        key = held.get(API_KEY) if isinstance(held, dict) else None  # pyright: ignore[reportUnknownVariableType, reportUnknownMemberType]
        if not isinstance(key, str) or not key.strip():
            # Without the cause: its text quotes the secret.
            raise ConfigurationError(
                f"Secret {secret} has no {API_KEY}.",
                remedy=f'Put {{"{API_KEY}": "..."}} into it, with a RunPod key that may use the endpoint.',
            )
        # A service of ours may accept several, for rotation: the first is the new one.
        return key.partition(",")[0].strip()

    def point_to(self, environment: str, endpoint_id: str) -> list[str] | None:
        """Tell an environment which endpoint is its own; returns the parameters that changed.

        None where the environment is not deployed with RunPod: the deployment makes the parameters, and could not if
        they were there before it.

        Raises:
            StoreUnavailableError: AWS did not answer, or refuses.
        """
        values = {
            sts_parameter(environment, SERVICE_URL): f"runpod://{endpoint_id}",
            sts_parameter(environment, ENDPOINT_ID): endpoint_id,
        }
        held = self._held(list(values))
        if sts_parameter(environment, ENDPOINT_ID) not in held:
            return None
        changed = [name for name in held if held[name] != values[name]]
        for name in changed:
            with aws_errors(f"Writing {name}"):
                self._ssm.put_parameter(Name=name, Value=values[name], Type="String", Overwrite=True)
        return changed

    def _held(self, names: list[str]) -> dict[str, str]:
        with aws_errors(f"Reading {', '.join(names)}"):
            answer = self._ssm.get_parameters(Names=names, WithDecryption=True)
        return {str(item["Name"]): str(item["Value"]) for item in answer["Parameters"]}


def sts_parameter(environment: str, name: str) -> str:
    """The parameter in which `environment` has `name`."""
    return f"/livedub/{environment}/sts/{name}"


def sts_secret(environment: str) -> str:
    """The secret with the environment's STS_API_KEY."""
    return f"livedub/{environment}/sts/secrets"
