"""Synthesizes network and media cache: `cdk synth -a '.venv/bin/python -m infra.media_cache_app' -c environment=dev`.

An app of its own: whoever dubs without a cache, or on one machine, needs none of it. Offline, like infra.app.
"""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path
from typing import Any

import aws_cdk as cdk
from cdk_nag import AwsSolutionsChecks

from infra.app import CONTEXT, ROOT
from infra.config import EnvironmentConfig
from infra.constructs.media_cache_release import HostSources
from infra.stacks.media_cache import MediaCacheSources, MediaCacheStack
from infra.stacks.network import NetworkStack
from infra.synthesis import chosen_environment, given_context, run, synthesize
from livedub.errors import ConfigurationError

HOST_PACKAGES = ROOT / "build" / "media-cache-host"
FUNCTION_PACKAGES = ROOT / "build" / "layers" / "media-cache"


def network_name(environment: str) -> str:
    """The stack of an environment's network."""
    return f"livedub-{environment}-network"


def stack_name(environment: str) -> str:
    """The stack of an environment's media cache."""
    return f"livedub-{environment}-media-cache"


def build_media_cache_app(
    config: EnvironmentConfig,
    *,
    outdir: Path | None = None,
    host_packages: Path = HOST_PACKAGES,
    function_packages: Path = FUNCTION_PACKAGES,
    with_host: bool = True,
) -> tuple[cdk.App, MediaCacheStack]:
    """The app of one environment's network and media cache, not synthesized yet."""
    app = cdk.App(context=CONTEXT, analytics_reporting=False, outdir=str(outdir) if outdir else None)
    sources = MediaCacheSources(
        functions=ROOT / "functions",
        function_packages=function_packages,
        host=HostSources(
            packages=host_packages,
            shared=ROOT / "layers" / "core",
            cache=ROOT / "media_edge" / "cache",
            install=ROOT / "infra" / "user_data" / "media_cache_install.sh",
        ),
        first_boot=ROOT / "infra" / "user_data" / "media_cache.sh",
    )
    cdk.Validations.of(app).add_plugins(AwsSolutionsChecks(app))
    network = NetworkStack(app, network_name(config.name), config=config)
    stack = MediaCacheStack(
        app,
        stack_name(config.name),
        config=config,
        network=network,
        sources=sources,
        with_host=with_host,
    )
    return app, stack


def with_image(config: EnvironmentConfig, image: Any) -> EnvironmentConfig:
    """`config` with the image that the context names, where it names one."""
    return replace(config, media_cache=replace(config.media_cache, image=str(image))) if image else config


def host_wanted(context: Any) -> bool:
    """Whether the context `media_cache_host` wants the machine: on, the default, or off.

    Raises:
        ConfigurationError: it is neither.
    """
    if context not in {None, "on", "off"}:
        raise ConfigurationError(f"context media_cache_host is {context!r}.", remedy="Give on or off.")
    return context != "off"


def main() -> None:
    """Synthesize the environment that the context names into CDK_OUTDIR (cdk.out without it)."""
    context = given_context()
    config = with_image(
        chosen_environment(context, "dev, staging or prod"), context.try_get_context("media_cache_image")
    )
    app, _ = build_media_cache_app(config, with_host=host_wanted(context.try_get_context("media_cache_host")))
    synthesize(app)


if __name__ == "__main__":
    run(main)
