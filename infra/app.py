"""Synthesizes the control plane: `cdk synth -c environment=dev`, or this module by itself with the same context.

Offline: no look-up, no network, nothing built. The same sources give the same template.
"""

from __future__ import annotations

from pathlib import Path

import aws_cdk as cdk
from cdk_nag import AwsSolutionsChecks

from infra.config import EnvironmentConfig
from infra.stacks.control_plane import ControlPlaneStack, Sources
from infra.synthesis import chosen_environment, given_context, run, synthesize

ROOT = Path(__file__).resolve().parents[1]

CONTEXT = {
    # What the cdk command would switch on; here, so that synthesis without it gives the same assembly.
    "aws:cdk:enable-asset-metadata": True,
    "aws:cdk:enable-path-metadata": True,
    "@aws-cdk/aws-iam:minimizePolicies": True,
    "@aws-cdk/aws-lambda:recognizeLayerVersion": True,
    "@aws-cdk/core:checkSecretUsage": True,
    "@aws-cdk/core:target-partitions": ["aws"],
}


def stack_name(environment: str) -> str:
    """The one stack of an environment."""
    return f"livedub-{environment}-control-plane"


def build_app(config: EnvironmentConfig, *, outdir: Path | None = None) -> tuple[cdk.App, ControlPlaneStack]:
    """The app of one environment and its stack, not synthesized yet."""
    app = cdk.App(context=CONTEXT, analytics_reporting=False, outdir=str(outdir) if outdir else None)
    sources = Sources(
        functions=ROOT / "functions",
        shared_layer=ROOT / "layers" / "core",
        dependencies_layer=ROOT / "build" / "layers" / "dependencies",
    )
    cdk.Validations.of(app).add_plugins(AwsSolutionsChecks(app))
    return app, ControlPlaneStack(app, stack_name(config.name), config=config, sources=sources)


def main() -> None:
    """Synthesize the environment that the context names into CDK_OUTDIR (cdk.out without it)."""
    config = chosen_environment(given_context(), "local, dev, staging or prod")
    app, _ = build_app(config)
    synthesize(app)


if __name__ == "__main__":
    run(main)
