"""Every function of every stack: its folder, its variables, what it runs on. The contract with its settings class."""

from collections import Counter
from typing import TYPE_CHECKING, Any

import pytest

from infra.constructs.python_function import folder_name
from livedub.library.library_settings import LibrarySettings
from livedub.media_cache.cleanup_settings import MediaCleanupSettings
from livedub.media_cache.consumer_settings import MediaCacheSettings
from livedub.media_cache.tls_rotation.rotation_settings import (
    TlsCheckSettings,
    TlsPublishSettings,
    TlsStartSettings,
    TlsStoresSettings,
)
from livedub.settings import variables
from livedub.supervision.function_settings import FUNCTION_SETTINGS
from livedub.supervision.policy import SupervisionPolicy
from tests.infra.conftest import ROOT, Part, Synthesized

if TYPE_CHECKING:
    from pydantic_settings import BaseSettings

POWERTOOLS = {"POWERTOOLS_SERVICE_NAME", "POWERTOOLS_METRICS_NAMESPACE", "POWERTOOLS_LOG_LEVEL"}
SETTINGS: "dict[str, tuple[type[BaseSettings], ...]]" = {
    **{folder: (settings,) for folder, settings in FUNCTION_SETTINGS.items()},
    "media_cache_cleanup": (MediaCleanupSettings, MediaCacheSettings),
    **dict.fromkeys(
        ("library_api", "media_job_route", "media_job_run", "media_job_end", "media_job_sweep"),
        (LibrarySettings,),
    ),
    "check_tls": (TlsCheckSettings,),
    "publish_tls_bundle": (TlsPublishSettings,),
    "settle_tls_stores": (TlsStoresSettings,),
    "start_tls_rotation": (TlsStartSettings,),
}
"""By folder of `functions/`: what its handler reads its environment with."""
FOLDERS = sorted(path.parent.name for path in (ROOT / "functions").glob("*/handler.py"))


def functions(environment: Synthesized) -> dict[str, tuple[Part, dict[str, Any]]]:
    """By folder: the stack and the properties."""
    found = [
        (folder_name(resource["Metadata"]["aws:cdk:path"].split("/")[-2]), part, resource["Properties"])
        for part in environment.parts.values()
        for resource in part.of_type("AWS::Lambda::Function").values()
    ]
    assert max(Counter(folder for folder, _, _ in found).values()) == 1
    return {folder: (part, properties) for folder, part, properties in found}


def test_every_folder_is_deployed_by_exactly_one_stack(local: Synthesized, prod: Synthesized):
    assert sorted(functions(local)) == FOLDERS
    assert sorted(functions(prod)) == FOLDERS
    assert sorted(SETTINGS) == FOLDERS


@pytest.mark.parametrize("folder", FOLDERS)
@pytest.mark.parametrize("environment", ["local", "prod"])
def test_its_variables_are_those_that_its_settings_read(
    environment: str, folder: str, local: Synthesized, prod: Synthesized
):
    _, properties = functions({"local": local, "prod": prod}[environment])[folder]
    given = set(properties["Environment"]["Variables"])
    required = {
        variable.name
        for settings in SETTINGS[folder]
        for field, variable in zip(settings.model_fields.values(), variables(settings), strict=True)
        if field.is_required()
    }
    assert required <= given
    known = {
        variable.name
        for settings in (*SETTINGS[folder], SupervisionPolicy)
        for variable in variables(settings)
    }
    assert given - POWERTOOLS <= known


@pytest.mark.parametrize("folder", FOLDERS)
def test_it_runs_as_every_function_does(folder: str, prod: Synthesized):
    part, properties = functions(prod)[folder]
    assert properties["Handler"] == "handler.handler"
    assert (properties["Runtime"], properties["Architectures"]) == ("python3.11", ["x86_64"])
    assert properties["TracingConfig"] == {"Mode": "Active"}
    assert len(properties["Layers"]) == 2
    variables_ = properties["Environment"]["Variables"]
    assert variables_["POWERTOOLS_SERVICE_NAME"] == folder
    assert variables_["POWERTOOLS_METRICS_NAMESPACE"] == "livedub/prod"
    log_group = part.resources[properties["LoggingConfig"]["LogGroup"]["Ref"]]
    assert log_group["Properties"]["RetentionInDays"] == 180


def test_no_two_functions_share_a_role(prod: Synthesized):
    roles = [
        (part.name, properties["Role"]["Fn::GetAtt"][0]) for part, properties in functions(prod).values()
    ]
    assert len(set(roles)) == len(roles)
