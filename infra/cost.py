"""Estimates what an environment costs: `python -m infra.cost -c environment=prod`. Offline; nothing need be built."""

from __future__ import annotations

import argparse
import json
import sys
import tempfile
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from infra.app import build_app
from infra.config import EnvironmentConfig, environment_config
from infra.cost_idle import Template, idle_month
from infra.cost_lines import Prices
from infra.cost_page import STREAMS, Estimate, idle_table, page, stream_table
from infra.cost_stream import Fleet
from infra.overrides import OVERRIDES, overridden
from infra.sources import CHECKOUT, Sources
from infra.synthesis import run, synthesize
from livedub import __version__
from livedub.errors import ConfigurationError
from livedub.sts.runpod_endpoint_spec import RunpodEndpointSpec

PAGE = CHECKOUT / "docs" / "cost.md"
ENVIRONMENTS = ("dev", "prod")
"""Of the page."""

STAND_INS: Mapping[str, str] = {
    "gpu_host_container": f"livedub-sts@sha256:{'0' * 64}",
    "gpu_host_image": "ami-00000000000000000",
    "media_cache_image": "ami-00000000000000000",
    "media_image": "ami-00000000000000000",
    "runpod_endpoint_id": "stand00in",
    "worker_image": "ami-00000000000000000",
}
"""For what only whoever deploys can know, and what does not change the price."""

ARTEFACTS = (
    "layers/dependencies/python/boto3.py",
    "layers/library/python/av.py",
    "layers/media-cache/python/psycopg.py",
    "media-cache-host/bin/caddy",
    "hosts/amazon-ssm-agent.deb",
    "hosts/media/httpx.py",
    "hosts/mediamtx.tar.gz",
    "hosts/worker/av.py",
    f"wheels/livedub-{__version__}-py3-none-any.whl",
)
"""What make build makes: its contents do not change the price."""


def estimate(config: EnvironmentConfig, templates: Mapping[str, Template], prices: Prices) -> Estimate:
    """What `config` costs whose stacks, by part, are `templates`.

    Raises:
        ConfigurationError: something has no price.
    """
    return Estimate(
        config.name, idle_month(dict(sorted(templates.items())), prices), fleet_of(config, prices)
    )


def fleet_of(config: EnvironmentConfig, prices: Prices) -> Fleet:
    """What dubs in `config`: of the cards that RunPod may give, the dearest."""
    workers = config.workers
    if config.sts.source == "gpu_host":
        gpu = f"ec2.{config.gpu_host.instance_type}"
        return Fleet(
            workers.instance_type,
            workers.slots,
            workers.min_hosts,
            gpu,
            gpu_units_per_hour=1.0,
            always_gpus=1,
            by_internet=False,
        )
    spec = RunpodEndpointSpec.model_validate_json((CHECKOUT / "runpod-endpoint.json").read_text())
    gpu = max((f"runpod.flex.{pool}" for pool in spec.gpu.pools), key=lambda name: prices[name].usd)
    return Fleet(
        workers.instance_type,
        workers.slots,
        workers.min_hosts,
        gpu,
        gpu_units_per_hour=3_600.0 * spec.gpu.count,
        # Workers that RunPod keeps are not in the month: nothing of theirs is in a template.
        always_gpus=0,
        by_internet=True,
    )


def templates_of(config: EnvironmentConfig) -> dict[str, Template]:
    """The stacks of `config`, by part, with stand-ins for what is not built.

    Raises:
        InvalidInputError: the synthesis found something.
    """
    with tempfile.TemporaryDirectory(prefix="livedub-cost-") as scratch:
        build, out = Path(scratch, "build"), Path(scratch, "out")
        for name in ARTEFACTS:
            (build / name).parent.mkdir(parents=True, exist_ok=True)
            (build / name).touch()
        synthesize(build_app(config, outdir=out, sources=Sources.of_checkout(build)).app)
        return {
            path.name.removesuffix(".template.json").removeprefix(f"livedub-{config.name}-"): json.loads(
                path.read_text()
            )
            for path in out.glob(f"livedub-{config.name}-*.template.json")
        }


def chosen(name: str, context: Mapping[str, Any]) -> EnvironmentConfig:
    """The environment, with the context and, where it says nothing, stand-ins.

    Raises:
        ConfigurationError: no such environment, or a wrong value.
    """
    config = environment_config(name)
    missing = {
        key: value
        for key, value in STAND_INS.items()
        if not getattr(getattr(config, OVERRIDES[key].part), OVERRIDES[key].key)
    }
    return overridden(config, {**missing, **context})


def written(prices: Prices) -> str:
    """docs/cost.md as it should be."""
    configs = [chosen(name, {}) for name in ENVIRONMENTS]
    return page([estimate(config, templates_of(config), prices) for config in configs], prices)


def main(arguments: Sequence[str] | None = None) -> None:
    """Print the estimate of one environment, or write the page."""
    parser = argparse.ArgumentParser(prog="python -m infra.cost", description=__doc__)
    parser.add_argument(
        "-c", "--context", action="append", default=[], metavar="KEY=VALUE", help="as for the cdk command"
    )
    parser.add_argument("--streams", default=",".join(map(str, STREAMS)), help="streams at once: 1,10,50")
    parser.add_argument("--write", action="store_true", help="write docs/cost.md")
    options = parser.parse_args(arguments)
    prices = Prices.read()
    if options.write:
        PAGE.write_text(written(prices), encoding="utf-8")
        sys.stdout.write(f"wrote {PAGE}\n")
        return
    context = dict(item.partition("=")[::2] for item in options.context)
    config = chosen(str(context.pop("environment", "dev")), context)
    result = estimate(config, templates_of(config), prices)
    hours = stream_table(result, prices, stream_numbers(options.streams))
    sys.stdout.write(
        f"A month without streams, {prices.region}:\n\n{idle_table([result])}\n"
        f"An hour of a stream:\n\n{hours}"
    )


def stream_numbers(text: str) -> list[int]:
    """How many streams at once, from a command line.

    Raises:
        ConfigurationError: they are none.
    """
    try:
        numbers = [int(part) for part in text.split(",")]
    except ValueError:
        numbers = []
    if not numbers or min(numbers) < 1:
        raise ConfigurationError(f"--streams is {text!r}.", remedy="Give numbers from 1 on, such as 1,10,50.")
    return numbers


if __name__ == "__main__":
    run(main)
