"""What the app does around its stacks: read which environment is meant, synthesize, say what is wrong."""

from __future__ import annotations

import os
import sys
from collections.abc import Callable, Mapping
from dataclasses import replace

import aws_cdk as cdk
from constructs import Node

from infra.config import ENVIRONMENTS, EnvironmentConfig, environment_config
from livedub.errors import ConfigurationError, InvalidInputError, LivedubError


def located(config: EnvironmentConfig, environ: Mapping[str, str]) -> EnvironmentConfig:
    """The environment in the account and region the cdk command is logged in to, unless it names its own."""
    return replace(
        config,
        account=config.account or environ.get("CDK_DEFAULT_ACCOUNT") or None,
        region=config.region or environ.get("CDK_DEFAULT_REGION") or None,
    )


def given_context() -> Node:
    """Where the values of `-c NAME=VALUE` stand."""
    return cdk.App(analytics_reporting=False).node


def chosen_environment(context: Node) -> EnvironmentConfig:
    """The environment of `-c environment=NAME`, where the cdk command is logged in to.

    Raises:
        ConfigurationError: none is chosen, or no such one.
    """
    name = context.try_get_context("environment")
    if not name:
        raise ConfigurationError(
            "no environment is chosen.", remedy=f"Add -c environment={'|'.join(ENVIRONMENTS)}."
        )
    return located(environment_config(str(name)), os.environ)


def whole_environment_wanted(context: Node) -> bool:
    """Whether `-c parts=` wants every stack, as it does by default, or the control plane and what it needs.

    Raises:
        ConfigurationError: it is neither.
    """
    parts = context.try_get_context("parts")
    if parts not in {None, "all", "control-plane"}:
        raise ConfigurationError(f"context parts is {parts!r}.", remedy="Give all or control-plane.")
    return parts != "control-plane"


def synthesize(app: cdk.App) -> None:
    """Write the assembly into CDK_OUTDIR (cdk.out without it).

    Raises:
        InvalidInputError: a check found something; it was printed.
    """
    try:
        app.synth()
    except RuntimeError as error:  # what jsii raises
        raise InvalidInputError(str(error), remedy="Repair it, or acknowledge it where it arises.") from error


def run(main: Callable[[], None]) -> None:
    """Run an app's `main`; an error of ours is one line, and the exit code 1."""
    try:
        main()
    except LivedubError as error:
        sys.exit(f"infra: {error}")
