"""Synthesizes the media library: `cdk synth -a '.venv/bin/python -m infra.library_app' -c environment=dev`.

An app of its own: whoever dubs live streams needs neither it nor the packages in its layer. Offline, like infra.app.
"""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import aws_cdk as cdk
from cdk_nag import AwsSolutionsChecks

from infra.app import CONTEXT, ROOT
from infra.config import EnvironmentConfig
from infra.stacks.media_library import DatabaseNetwork, LibrarySources, MediaLibraryStack
from infra.synthesis import chosen_environment, given_context, run, synthesize
from livedub.errors import ConfigurationError


def stack_name(environment: str) -> str:
    """The one stack of an environment's library."""
    return f"livedub-{environment}-media-library"


def build_library_app(
    config: EnvironmentConfig,
    *,
    outdir: Path | None = None,
    media_layer: Path = ROOT / "build" / "layers" / "library",
    network: DatabaseNetwork | None = None,
) -> tuple[cdk.App, MediaLibraryStack]:
    """The app of one environment's library and its stack, not synthesized yet."""
    app = cdk.App(context=CONTEXT, analytics_reporting=False, outdir=str(outdir) if outdir else None)
    sources = LibrarySources(
        functions=ROOT / "functions", shared_layer=ROOT / "layers" / "core", media_layer=media_layer
    )
    cdk.Validations.of(app).add_plugins(AwsSolutionsChecks(app))
    stack = MediaLibraryStack(app, stack_name(config.name), config=config, sources=sources, network=network)
    return app, stack


def network_of(context: Any) -> DatabaseNetwork | None:
    """The network that the context `database_network` describes, as JSON or already read; None without one.

    Raises:
        ConfigurationError: something is missing in it.
    """
    if not context:
        return None
    try:
        found = json.loads(context) if isinstance(context, str) else dict(context)
        return DatabaseNetwork(
            vpc_id=found["vpc_id"],
            availability_zones=tuple(found["availability_zones"]),
            private_subnet_ids=tuple(found["private_subnet_ids"]),
            security_group_id=found["security_group_id"],
        )
    except (KeyError, TypeError, ValueError) as error:
        raise ConfigurationError(
            f"context database_network is wrong: {error!r}.",
            remedy="Give vpc_id, availability_zones, private_subnet_ids and security_group_id.",
        ) from error


def main() -> None:
    """Synthesize the environment that the context names into CDK_OUTDIR (cdk.out without it)."""
    context = given_context()
    network = network_of(context.try_get_context("database_network"))
    app, _ = build_library_app(chosen_environment(context, "dev, staging or prod"), network=network)
    synthesize(app)


if __name__ == "__main__":
    run(main)
