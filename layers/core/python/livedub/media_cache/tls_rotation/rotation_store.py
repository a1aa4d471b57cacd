"""Certificate and key in their two stores: read with their versions, marked once they are served, and put back.

What is served is marked in the stores themselves, by a label of the parameter's version and a staging label of the
secret's: a labelled version is kept, whatever is written after it.
"""

from __future__ import annotations

import json
from dataclasses import dataclass, field
from typing import Any

from livedub.errors import ConfigurationError
from livedub.media_cache.tls_material import TlsMaterialError, check_pair
from livedub.media_cache.tls_rotation.versions import Versions
from livedub.media_cache.tls_sources import decode_variable
from livedub.supervision.aws_client import aws_client, aws_errors, error_code

CHAIN = "MEDIA_TLS_FULLCHAIN_B64"
KEY = "MEDIA_TLS_PRIVKEY_B64"
PARAMETER_LABEL = "served"
SECRET_STAGE = "LIVEDUB_SERVED"  # noqa: S105 - a label's name
_CURRENT = "AWSCURRENT"
_ABSENT = {"ResourceNotFoundException", "ParameterNotFound", "ParameterVersionNotFound"}
_USED_UP = "ExecutionAlreadyExists"


@dataclass(frozen=True, slots=True)
class StoredPair:
    """What the stores hold; empty where they hold nothing. The key is in no representation."""

    versions: Versions
    chain_b64: str
    key_b64: str = field(repr=False)


class TlsRotationStore:
    """SSM and Secrets Manager of one media cache; values are in no error."""

    def __init__(self, ssm: Any, secrets_manager: Any, namespace: str) -> None:
        self._ssm = ssm
        self._secrets_manager = secrets_manager
        self._parameter = f"/{namespace}/media/{CHAIN}"
        self._secret = f"{namespace}/media/secrets"

    @classmethod
    def connect(cls, namespace: str) -> TlsRotationStore:
        """On the process's own clients."""
        return cls(aws_client("ssm"), aws_client("secretsmanager"), namespace)

    def chain(self) -> tuple[Versions, str]:
        """What is in the stores now, and the certificate chain; the secret's value is not read.

        Raises:
            StoreUnavailableError: AWS did not answer, or refuses.
        """
        version, chain_b64 = self._chain(self._parameter)
        return Versions.seen(version, chain_b64, self._stages().get(_CURRENT, "")), chain_b64

    def pair(self) -> StoredPair:
        """Both.

        Raises:
            StoreUnavailableError: AWS did not answer, or refuses.
            ConfigurationError: the secret is no JSON object.
        """
        version, chain_b64 = self._chain(self._parameter)
        secret_version, held = self._held({})
        return StoredPair(
            Versions.seen(version, chain_b64, secret_version), chain_b64, _text(held.get(KEY)).strip()
        )

    def is_marked(self, versions: Versions) -> bool:
        """Whether `versions` are those that were served last.

        Raises:
            StoreUnavailableError: AWS did not answer, or refuses.
        """
        parameter, chain_b64 = self._chain(f"{self._parameter}:{PARAMETER_LABEL}")
        marked = Versions.seen(parameter, chain_b64, self._stages().get(SECRET_STAGE, ""))
        return bool(chain_b64) and marked == versions

    def mark_served(self, versions: Versions) -> None:
        """Remember that `versions` are served: `restore` goes back to them.

        Raises:
            StoreUnavailableError: AWS did not answer, or refuses; also where one of them is gone.
        """
        with aws_errors(f"Marking {self._parameter}"):
            self._ssm.label_parameter_version(
                Name=self._parameter, ParameterVersion=versions.parameter, Labels=[PARAMETER_LABEL]
            )
        if not self._move_stage(versions.secret):
            # Another execution has moved it in between; most likely to where it belongs.
            self._move_stage(versions.secret, last=True)

    def _move_stage(self, version: str, *, last: bool = False) -> bool:
        marked = self._stages().get(SECRET_STAGE, "")
        if marked == version:
            return True
        with aws_errors(f"Marking secret {self._secret}"):
            try:
                self._secrets_manager.update_secret_version_stage(
                    SecretId=self._secret,
                    VersionStage=SECRET_STAGE,
                    MoveToVersionId=version,
                    **({"RemoveFromVersionId": marked} if marked else {}),
                )
            except self._secrets_manager.exceptions.ClientError as error:
                if last or error_code(error) != "InvalidParameterException":
                    raise
                return False
        return True

    def going_back(self, versions: Versions) -> bool:
        """Whether what the stores hold is what `restore` leaves, or leaves half-way, where it began at `versions`.

        Raises:
            StoreUnavailableError: AWS did not answer, or refuses.
            ConfigurationError: the secret is no JSON object.
        """
        now, (chain_b64, key_b64) = self.pair(), self._served_last()
        half = (now.versions.parameter, now.versions.chain) == (versions.parameter, versions.chain)
        return now.key_b64 == key_b64 and (half or now.chain_b64 == chain_b64)

    def restore(self) -> bool:
        """Put back the pair that was served last, or none where none was; whether anything had to be written.

        Whatever else the secret holds stays as it is. Where one half of what was served is gone neither is put back:
        without a pair the host serves what it has, with half of one it does not start.

        Raises:
            StoreUnavailableError: AWS did not answer, or refuses.
            ConfigurationError: the secret is no JSON object.
        """
        now, (chain_b64, key_b64) = self.pair(), self._served_last()
        if (now.chain_b64, now.key_b64) == (chain_b64, key_b64):
            return False
        if now.key_b64 != key_b64:
            self._write_key(key_b64)
        if now.chain_b64 != chain_b64:
            self._write_chain(chain_b64)
        if chain_b64:
            self.mark_served(self.chain()[0])
        return True

    def _served_last(self) -> tuple[str, str]:
        """Chain and key that are marked; both empty where they are no pair."""
        _, chain_b64 = self._chain(f"{self._parameter}:{PARAMETER_LABEL}")
        _, held = self._held({"VersionStage": SECRET_STAGE})
        key_b64 = _text(held.get(KEY)).strip()
        try:
            check_pair(decode_variable(CHAIN, chain_b64), decode_variable(KEY, key_b64))
        except TlsMaterialError:
            return "", ""
        return chain_b64, key_b64

    def _chain(self, name: str) -> tuple[int, str]:
        with aws_errors(f"Reading {name}"):
            found = self._ssm.get_parameters(Names=[name], WithDecryption=True)["Parameters"]
        if not found or not str(found[0]["Value"]).strip():
            return 0, ""
        return int(found[0]["Version"]), str(found[0]["Value"]).strip()

    def _stages(self) -> dict[str, str]:
        """VersionId by staging label."""
        with aws_errors(f"Looking at secret {self._secret}"):
            try:
                found = self._secrets_manager.describe_secret(SecretId=self._secret)
            except self._secrets_manager.exceptions.ClientError as error:
                if error_code(error) in _ABSENT:
                    return {}
                raise
        versions: dict[str, list[str]] = found.get("VersionIdsToStages") or {}
        return {stage: version for version, stages in versions.items() for stage in stages}

    def _held(self, which: dict[str, str]) -> tuple[str, dict[str, Any]]:
        """VersionId and content of a version of the secret; nothing where there is none."""
        with aws_errors(f"Reading secret {self._secret}"):
            try:
                answer = self._secrets_manager.get_secret_value(SecretId=self._secret, **which)
            except self._secrets_manager.exceptions.ClientError as error:
                if error_code(error) in _ABSENT:
                    return "", {}
                raise
        try:
            held = json.loads(str(answer.get("SecretString", "")))
        except ValueError:
            held = None
        if not isinstance(held, dict):
            # Without the cause: its text quotes the secret.
            raise ConfigurationError(
                f"Secret {self._secret} is no JSON object.", remedy=f"Put in an object with {KEY}."
            ) from None
        return str(answer["VersionId"]), held  # pyright: ignore[reportUnknownVariableType]

    def _write_key(self, key_b64: str) -> None:
        _, held = self._held({})
        with aws_errors(f"Writing secret {self._secret}"):
            self._secrets_manager.put_secret_value(
                SecretId=self._secret, SecretString=json.dumps({**held, KEY: key_b64})
            )

    def _write_chain(self, chain_b64: str) -> None:
        with aws_errors(f"Writing {self._parameter}"):
            if chain_b64:
                self._ssm.put_parameter(
                    Name=self._parameter,
                    Value=chain_b64,
                    Type="String",
                    Overwrite=True,
                    Tier="Intelligent-Tiering",
                )
                return
            try:
                self._ssm.delete_parameter(Name=self._parameter)
            except self._ssm.exceptions.ClientError as error:
                if error_code(error) not in _ABSENT:
                    raise


class RotationStarter:
    """Starts executions of rotate_tls."""

    def __init__(self, machine_arn: str, client: Any) -> None:
        self._machine_arn = machine_arn
        self._client = client

    @classmethod
    def connect(cls, machine_arn: str) -> RotationStarter:
        """On the process's own client."""
        return cls(machine_arn, aws_client("stepfunctions"))

    def start(self, name: str, versions: Versions) -> bool:
        """Start the execution `name`; False where there was one of this name already, which has ended.

        Raises:
            StoreUnavailableError: Step Functions did not answer, or refuses.
        """
        given = json.dumps({"versions": versions.fields()}, separators=(",", ":"))
        with aws_errors(f"Starting rotate_tls {name}"):
            try:
                self._client.start_execution(stateMachineArn=self._machine_arn, name=name, input=given)
            except self._client.exceptions.ClientError as error:
                if error_code(error) == _USED_UP:
                    return False
                raise
        return True


def _text(value: object) -> str:
    return value if isinstance(value, str) else ""
