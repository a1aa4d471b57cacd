"""`{{resolve:...}}` in a template: what stands in Parameter Store and Secrets Manager when a resource is made."""

from __future__ import annotations

import json
import re
from typing import Any

from moto.cloudformation.exceptions import ValidationError
from moto.ssm.models import ssm_backends

from local.aws.overlay.types_of_secrets import secret_text

_REFERENCE = re.compile(r"\{\{resolve:(ssm|ssm-secure|secretsmanager):([^}]+)\}\}")
_SECRET = re.compile(
    r"(?P<id>arn:[^:]+:[^:]+:[^:]*:[^:]*:secret:[^:]+|[^:]+)"
    r"(?::SecretString(?::(?P<key>[^:]*)(?::(?P<stage>[^:]*)(?::(?P<version>[^:]*))?)?)?)?"
)


def resolved(value: Any, account_id: str, region: str) -> Any:
    """`value` with every reference in it replaced.

    Raises:
        ValidationError: one leads nowhere.
    """
    if isinstance(value, dict):
        return {name: resolved(each, account_id, region) for name, each in value.items()}
    if isinstance(value, list):
        return [resolved(each, account_id, region) for each in value]
    if not isinstance(value, str) or "{{resolve:" not in value:
        return value

    def replacement(found: re.Match[str]) -> str:
        try:
            if found[1] == "secretsmanager":
                return _secret(found[2], account_id, region)
            return _parameter(found[2], account_id, region)
        except (KeyError, ValueError) as error:
            raise ValidationError(message=f"{found[0]} leads nowhere: {error!r}") from error

    return _REFERENCE.sub(replacement, value)


def _parameter(reference: str, account_id: str, region: str) -> str:
    name, _, version = reference.partition(":")
    wanted = f"{name}:{version}" if version else name
    found = ssm_backends[account_id][region].get_parameter(wanted)
    if found is None:
        raise KeyError(name)
    return str(found.value)


def _secret(reference: str, account_id: str, region: str) -> str:
    parts = _SECRET.fullmatch(reference)
    if parts is None:
        raise ValueError(reference)
    held = secret_text(account_id, region, parts["id"])
    return str(json.loads(held)[parts["key"]]) if parts["key"] else held
