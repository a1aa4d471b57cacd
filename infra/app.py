"""Synthesizes livedub: `cdk synth -c environment=dev`, or this module by itself with the same context.

One stack per part of an environment, in the order of `Stacks`. Offline: no look-up, no network, nothing built. The same
sources give the same templates.
"""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

import aws_cdk as cdk
from cdk_nag import AwsSolutionsChecks

from infra.config import EnvironmentConfig
from infra.overrides import overridden
from infra.sources import Sources
from infra.stacks.control_plane import ControlPlaneStack
from infra.stacks.media import MediaStack
from infra.stacks.media_cache import MediaCacheStack
from infra.stacks.media_library import MediaLibraryStack
from infra.stacks.network import NetworkStack
from infra.stacks.observability import ObservabilityStack
from infra.stacks.state import StateStack
from infra.stacks.workers import WorkersStack
from infra.synthesis import (
    chosen_environment,
    given_context,
    run,
    synthesize,
    whole_environment_wanted,
)
from infra.watched import watched_parts

CONTEXT = {
    # What the cdk command would switch on; here, so that synthesis without it gives the same assembly.
    "aws:cdk:enable-asset-metadata": True,
    "aws:cdk:enable-path-metadata": True,
    "@aws-cdk/aws-iam:minimizePolicies": True,
    "@aws-cdk/aws-lambda:recognizeLayerVersion": True,
    "@aws-cdk/core:checkSecretUsage": True,
    # What another stack imports cannot be taken away from under it (ADR 9).
    "@aws-cdk/core:defaultCrossStackReferences": "strong",
    "@aws-cdk/core:target-partitions": ["aws"],
}


@dataclass(frozen=True, slots=True)
class ControlPlane:
    """The control plane and what it needs; streams can be supervised with these alone."""

    app: cdk.App
    network: NetworkStack
    state: StateStack
    control_plane: ControlPlaneStack


@dataclass(frozen=True, slots=True)
class Stacks(ControlPlane):
    """Every stack of an environment."""

    media: MediaStack
    workers: WorkersStack
    media_cache: MediaCacheStack
    media_library: MediaLibraryStack
    observability: ObservabilityStack


def build_control_plane(
    config: EnvironmentConfig, *, outdir: Path | None = None, sources: Sources | None = None
) -> ControlPlane:
    """The app with what supervises streams and no host, not synthesized yet; of what is built it needs one layer."""
    sources = sources or Sources.of_checkout()
    app = cdk.App(context=CONTEXT, analytics_reporting=False, outdir=str(outdir) if outdir else None)
    cdk.Validations.of(app).add_plugins(AwsSolutionsChecks(app))
    network = NetworkStack(app, config=config)
    state = StateStack(app, config=config, network=network)
    control_plane = ControlPlaneStack(app, config=config, state=state, sources=sources)
    return ControlPlane(app, network, state, control_plane)


def build_app(
    config: EnvironmentConfig, *, outdir: Path | None = None, sources: Sources | None = None
) -> Stacks:
    """The app of one whole environment, not synthesized yet.

    Raises:
        ConfigurationError: something that only whoever deploys can know is not in `config`.
        MissingPrerequisiteError: something is not built.
    """
    sources = sources or Sources.of_checkout()
    base = build_control_plane(config, outdir=outdir, sources=sources)
    app, network, state = base.app, base.network, base.state
    control_plane = base.control_plane
    media = MediaStack(
        app,
        config=config,
        network=network,
        state=state,
        control_plane=control_plane,
        sources=sources,
    )
    workers = WorkersStack(
        app,
        config=config,
        network=network,
        state=state,
        control_plane=control_plane,
        sources=sources,
    )
    media_cache = MediaCacheStack(app, config=config, network=network, state=state, sources=sources)
    media_library = MediaLibraryStack(app, config=config, network=network, state=state, sources=sources)
    watched = watched_parts(
        state=state,
        control_plane=control_plane,
        media=media,
        workers=workers,
        media_cache=media_cache,
        media_library=media_library,
    )
    return Stacks(
        app=app,
        network=network,
        state=state,
        control_plane=control_plane,
        media=media,
        workers=workers,
        media_cache=media_cache,
        media_library=media_library,
        observability=ObservabilityStack(app, config=config, watched=watched),
    )


def main() -> None:
    """Synthesize the environment that the context names into CDK_OUTDIR (cdk.out without it)."""
    context = given_context()
    config = overridden(chosen_environment(context), context)
    build = build_app if whole_environment_wanted(context) else build_control_plane
    built = context.try_get_context("build")
    synthesize(build(config, sources=Sources.of_checkout(Path(built) if built else None)).app)


if __name__ == "__main__":
    run(main)
