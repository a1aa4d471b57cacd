"""What the function `warm_sts` does: see to it that a GPU is awake by the time a stream's first fragment comes."""

from __future__ import annotations

from typing import TYPE_CHECKING

from pydantic import ValidationError

from livedub.errors import ConfigurationError
from livedub.settings import explain
from livedub.supervision.function_settings import WarmUpFunctionSettings
from livedub.supervision.sts_parameter_store import StsParameterStore

if TYPE_CHECKING:
    from livedub.sts.runpod_warm_up import Readiness


def load_warm_up_settings() -> WarmUpFunctionSettings:
    """From the environment.

    Raises:
        ConfigurationError: naming each variable that is missing.
    """
    try:
        return WarmUpFunctionSettings()  # pyright: ignore[reportCallIssue] - from the environment
    except ValidationError as error:
        raise explain(error, WarmUpFunctionSettings) from error


def warm_up(settings: WarmUpFunctionSettings, store: StsParameterStore) -> Readiness | None:
    """Wake the environment's RunPod endpoint up; None where its speech comes from elsewhere.

    Raises:
        StoreUnavailableError: AWS did not answer, or refuses.
        ConfigurationError: the parameter or the secret is not filled in.
        StsFailure: RunPod does not answer, or refuses.
    """
    address = store.text(settings.sts_url_parameter)
    if not address:
        raise ConfigurationError(
            f"Parameter {settings.sts_url_parameter} is not there.", remedy="Deploy the stack that holds it."
        )
    if not address.startswith("runpod://"):
        return None
    from livedub.sts.runpod_job import DEFAULT_BASE_URL  # noqa: PLC0415 - a function must import fast
    from livedub.sts.runpod_warm_up_client import wake_up  # noqa: PLC0415

    key = store.api_key(settings.sts_secret)
    return wake_up(address, api_key=key, base_url=settings.sts_runpod_base_url or DEFAULT_BASE_URL)
