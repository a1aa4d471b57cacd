"""Secrets that are drawn by lot, and those that learn where a database is."""

from __future__ import annotations

import json
import secrets
import string
import uuid
from collections.abc import Mapping
from types import MappingProxyType
from typing import Any

from moto.rds.models import rds_backends
from moto.secretsmanager.models import secretsmanager_backends

from local.aws.overlay.resource import Made, ResourceType, Wanted

_PUNCTUATION = "!\"#$%&'()*+,-./:;<=>?@[\\]^_`{|}~"


def random_secret(options: Mapping[str, Any]) -> str:
    """A secret as `GenerateSecretString` asks for: alphabet, length, template and key."""
    classes = (
        (string.ascii_lowercase, "ExcludeLowercase"),
        (string.ascii_uppercase, "ExcludeUppercase"),
        (string.digits, "ExcludeNumbers"),
        (_PUNCTUATION, "ExcludePunctuation"),
    )
    alphabet = {one for members, excluded in classes if not _truth(options.get(excluded)) for one in members}
    if _truth(options.get("IncludeSpace")):
        alphabet.add(" ")
    letters = sorted(alphabet - set(options.get("ExcludeCharacters", "")))
    value = "".join(secrets.choice(letters) for _ in range(int(options.get("PasswordLength", 32))))
    key = options.get("GenerateStringKey")
    if not key:
        return value
    return json.dumps({**json.loads(options.get("SecretStringTemplate") or "{}"), key: value})


def _truth(value: Any) -> bool:
    return str(value).lower() == "true"


def _secret(wanted: Wanted) -> Made:
    backend = secretsmanager_backends[wanted.account_id][wanted.region]
    properties = wanted.properties
    made = backend.create_secret(
        name=properties.get("Name", wanted.name),
        secret_string=properties.get("SecretString")
        or random_secret(properties.get("GenerateSecretString", {})),
        secret_binary=None,
        description=properties.get("Description"),
        tags=properties.get("Tags", []),
        kms_key_id=properties.get("KmsKeyId"),
        client_request_token=None,
        replica_regions=[],
        force_overwrite=False,
    )
    arn = json.loads(made)["ARN"]

    def remove() -> None:
        backend.delete_secret(arn, recovery_window_in_days=None, force_delete_without_recovery=True)

    return Made(arn, remove, {"Id": arn})


def secret_text(account_id: str, region: str, secret_id: str) -> str:
    """What a secret holds, by its name or ARN.

    Raises:
        KeyError: there is none, or it holds no text.
    """
    text = getattr(secretsmanager_backends[account_id][region].secrets[secret_id], "secret_string", None)
    if not isinstance(text, str):
        raise KeyError(secret_id)
    return text


def _target_attachment(wanted: Wanted) -> Made:
    """Adds to a database's secret what RDS adds: where the database is."""
    backend = secretsmanager_backends[wanted.account_id][wanted.region]
    secret_id = wanted.properties["SecretId"]
    database = rds_backends[wanted.account_id][wanted.region].databases[wanted.properties["TargetId"]]
    held = json.loads(secret_text(wanted.account_id, wanted.region, secret_id))
    address, port = wanted.runtime.databases.place_of(database.db_instance_identifier)
    held |= {
        "engine": database.engine,
        "host": address,
        "port": port,
        "dbname": database.db_name,
        "dbInstanceIdentifier": database.db_instance_identifier,
    }
    backend.update_secret(secret_id, json.dumps(held), client_request_token=str(uuid.uuid4()))
    return Made(secret_id, lambda: None)


TYPES: Mapping[str, ResourceType] = MappingProxyType(
    {
        "AWS::SecretsManager::Secret": ResourceType(_secret, ("Id",)),
        "AWS::SecretsManager::SecretTargetAttachment": ResourceType(_target_attachment),
    }
)
