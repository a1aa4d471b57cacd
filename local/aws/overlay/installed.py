"""The list of everything patched, and its installation into this process."""

from __future__ import annotations

import moto
from moto.core.config import default_user_config
from moto.stepfunctions import models as state_machine_models
from moto.stepfunctions.parser.models import stepfunctions_parser_backends

from local.aws.overlay import (
    cloudformation,
    cloudformation_types,
    dispatch,
    dynamodb,
    event_rules,
    internal_clients,
    lambda_functions,
    parameters,
    queues,
    run_command,
    secrets,
    state_machine_speed,
    state_machine_tokens,
    state_machines,
)
from local.aws.overlay.patching import MOTO_VERSION, OverlayError, Patch, apply, verify
from local.aws.runtime import Runtime


def all_patches(runtime: Runtime) -> list[Patch]:
    """Every symbol of moto that is replaced."""
    return [
        *lambda_functions.patches(runtime),
        *state_machines.patches(runtime),
        *state_machine_tokens.patches(),
        *state_machine_speed.patches(),
        *internal_clients.patches(),
        *dispatch.patches(),
        *dynamodb.patches(),
        *event_rules.patches(runtime),
        *parameters.patches(runtime),
        *queues.patches(),
        *run_command.patches(runtime),
        *secrets.patches(runtime),
        *cloudformation.patches(),
    ]


def install(runtime: Runtime) -> None:
    """Turn the moto of this process into the local AWS; once per process.

    Raises:
        OverlayError: another moto than the one this was written for.
    """
    if moto.__version__ != MOTO_VERSION:
        raise OverlayError(
            f"moto {moto.__version__} is installed, the overlay is written for {MOTO_VERSION}.",
            remedy="Run make setup.",
        )
    patches = all_patches(runtime)
    verify(patches)
    apply(patches)
    # moto's default backend only stores machines. CloudFormation imports it by name, so both places change.
    default_user_config["stepfunctions"] = {"execute_state_machine": True}
    state_machine_models.stepfunctions_backends = stepfunctions_parser_backends
    cloudformation_types.define(runtime)
    event_rules.Schedules(runtime).start()
    dynamodb.Expiry(runtime).start()
