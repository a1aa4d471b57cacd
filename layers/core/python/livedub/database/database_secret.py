"""A database's address in Secrets Manager: a URL, or in the form that RDS keeps it, a JSON object."""

from __future__ import annotations

import json
from typing import Any, Protocol
from urllib.parse import quote

from livedub.errors import ConfigurationError

_FIELDS = ("username", "password", "host", "dbname")
_POSTGRES = 5432
_URLS = ("postgresql://", "postgres://")


class Secrets(Protocol):
    """Where secrets are, such as `livedub.supervision.secret_store.SecretStore`."""

    def text(self, name: str) -> str:
        """The current value of secret `name`."""
        ...


def database_url(secrets: Secrets, name: str) -> str:
    """DATABASE_URL as secret `name` has it; of what RDS writes one over TLS, for RDS refuses everything else.

    Raises:
        StoreUnavailableError: Secrets Manager does not answer, or refuses.
        ConfigurationError: the secret is neither a URL nor what RDS writes.
    """
    text = secrets.text(name)
    if text.startswith(_URLS):
        return text
    held = secret_object(secrets, name)
    missing = [field for field in _FIELDS if not str(held.get(field) or "")]
    if missing:
        raise ConfigurationError(
            f"Secret {name} has no {', '.join(missing)}.",
            remedy="Name a secret with a postgresql:// URL, or the one that RDS made: a JSON object with host, port, "
            "dbname, username, password.",
        )
    username, password, host, dbname = (quote(str(held[field]), safe="") for field in _FIELDS)
    port = held.get("port") or _POSTGRES
    return f"postgresql://{username}:{password}@{host}:{port}/{dbname}?sslmode=require"


def secret_object(secrets: Secrets, name: str) -> dict[str, Any]:
    """The JSON object in secret `name`.

    Raises:
        StoreUnavailableError: Secrets Manager does not answer, or refuses.
        ConfigurationError: it is empty, or no JSON object.
    """
    try:
        held = json.loads(secrets.text(name))
    except ValueError:
        held = None
    if not isinstance(held, dict):
        # Without the cause: its text quotes the secret.
        raise ConfigurationError(f"Secret {name} is no JSON object.", remedy="Put one into it.")
    return held  # pyright: ignore[reportUnknownVariableType]
