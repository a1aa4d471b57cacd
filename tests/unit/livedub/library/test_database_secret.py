"""The catalogue's address where a function is told the name of a secret alone."""

import json
from collections.abc import Callable
from typing import Any

import pytest

from livedub.library import catalogue, job_kit
from livedub.library.api import wiring
from livedub.library.library_settings import LibrarySettings
from livedub.supervision.secret_store import SecretStore

RDS = {"host": "db.internal", "port": 5432, "dbname": "livedub", "username": "livedub", "password": "p@ss"}
FROM_RDS = "postgresql://livedub:p%40ss@db.internal:5432/livedub?sslmode=require"


class SecretsManager:
    """Answers with one text."""

    def __init__(self, held: str) -> None:
        self.held = held

    def get_secret_value(self, **named: Any) -> dict[str, str]:
        assert named == {"SecretId": "rds"}
        return {"SecretString": self.held}


def of_the_api(settings: LibrarySettings) -> Any:
    return wiring.ConnectedParts(settings).catalogue


def of_the_jobs(settings: LibrarySettings) -> Any:
    return job_kit.JobKit(settings).catalogue


@pytest.mark.parametrize("connected", [of_the_api, of_the_jobs])
@pytest.mark.parametrize(
    ("held", "url"), [(json.dumps(RDS), FROM_RDS), ("postgresql://here/livedub", "postgresql://here/livedub")]
)
def test_the_secret_holds_what_rds_wrote_or_a_url(
    monkeypatch: pytest.MonkeyPatch, connected: Callable[[LibrarySettings], Any], held: str, url: str
):
    def address(url: str, **_: Any) -> str:
        return url

    store = SecretStore(SecretsManager(held))
    monkeypatch.setattr(SecretStore, "connect", lambda: store)
    monkeypatch.setattr(catalogue, "connect_catalogue", address)
    monkeypatch.setattr(job_kit, "connect_catalogue", address)
    wiring._secrets.cache_clear()
    monkeypatch.setenv("LIBRARY_DATABASE_URL_SECRET", "rds")
    monkeypatch.setenv("DATABASE_URL", "postgresql://another")
    try:
        assert connected(LibrarySettings()) == url
    finally:
        wiring._secrets.cache_clear()
