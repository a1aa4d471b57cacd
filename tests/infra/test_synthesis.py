"""The app as a whole: offline, the same every time, clean by cfn-lint and cdk-nag."""

import json
import os
import shutil
import subprocess
import sys
from pathlib import Path
from typing import TYPE_CHECKING

import pytest

from tests.infra.conftest import FROM_THE_DEPLOYER, ROOT, Synthesize, Synthesized, given, synthesize_into

if TYPE_CHECKING:
    from infra.sources import Sources

# W3005: CDK lists dependencies that a reference implies already. W3691: of Postgres' versions it knows those with a
# minor number; RDS takes the major alone, and chooses one that it still offers.
CFN_LINT = [str(Path(sys.executable).with_name("cfn-lint")), "--ignore-checks", "W3005", "W3691"]
NO_NETWORK = ["unshare", "--user", "--map-root-user", "--net"]


def run(argv: list[str], env: dict[str, str] | None = None) -> subprocess.CompletedProcess[str]:
    return subprocess.run(argv, cwd=ROOT, env=env, capture_output=True, text=True, timeout=100, check=False)


def synthesize_alone(
    out: Path, context: dict[str, str], *, prefix: list[str]
) -> subprocess.CompletedProcess[str]:
    """What the cdk command does."""
    return run(
        [*prefix, sys.executable, "-m", "infra.app"],
        {
            "PATH": os.environ["PATH"],
            "HOME": os.environ.get("HOME", "/tmp"),  # noqa: S108
            "PYTHONPATH": f"{ROOT}{os.pathsep}{ROOT / 'layers/core/python'}",
            "CDK_OUTDIR": str(out),
            "CDK_CONTEXT_JSON": json.dumps(context),
            "LIVEDUB_HEARTBEAT_S": "99",
        },
    )


def test_it_needs_no_network_and_gives_the_same_bytes_whatever_the_machine_says(
    prod: Synthesized, sources: "Sources", tmp_path: Path
):
    without_network = (
        NO_NETWORK if shutil.which("unshare") and run([*NO_NETWORK, "true"]).returncode == 0 else []
    )
    context = {"environment": "prod", "build": str(sources.build), **FROM_THE_DEPLOYER}
    done = synthesize_alone(tmp_path / "out", context, prefix=without_network)
    assert done.returncode == 0, done.stderr
    for part in prod.parts.values():
        for name in (f"{part.name}.template.json", f"{part.name}.assets.json"):
            assert (tmp_path / "out" / name).read_bytes() == (prod.folder / name).read_bytes()
    assert "missing" not in prod.manifest, "a look-up asks the network at synthesis"
    if not without_network:
        pytest.skip(
            "same bytes, but this machine lets nobody make a network of his own: offline is not proven"
        )


@pytest.mark.slow
def test_the_control_plane_alone_is_the_same_and_asks_for_nothing_of_the_rest(
    local: Synthesized, tmp_path: Path
):
    done = synthesize_alone(tmp_path, {"environment": "local", "parts": "control-plane"}, prefix=[])
    assert done.returncode == 0, done.stderr
    assert {path.name.split(".")[0] for path in tmp_path.glob("*.template.json")} == {
        local.part(part).name for part in ("network", "state", "control-plane")
    }
    ours = local.part("control-plane")
    alone = json.loads((tmp_path / ours.path.name).read_text())
    assert alone["Resources"] == ours.resources


@pytest.mark.parametrize(
    ("context", "words"),
    [
        ({}, "infra: no environment is chosen. Add -c environment=local|dev|staging|prod."),
        ({"environment": "qa"}, "infra: environment 'qa' does not exist."),
        ({"environment": "dev", "parts": "some"}, "infra: context parts is 'some'."),
        ({"environment": "dev", "media_cache_host": "maybe"}, "context media_cache_host is 'maybe'. Give on or off."),
        ({"environment": "dev", "media_cache_port": "https"}, "context media_cache_port is 'https'. Give a number."),
        ({"environment": "dev", "media_cache_port": "443"}, "media_cache.port is 443"),
    ],
)  # fmt: skip
def test_what_is_wrong_is_one_line(tmp_path: Path, context: dict[str, str], words: str):
    done = synthesize_alone(tmp_path / "out", context, prefix=[])
    assert done.returncode == 1
    assert words in done.stderr
    assert "Traceback" not in done.stderr


def test_cfn_lint_finds_nothing(synthesize: Synthesize):
    # What is deleted with its stack, and what stays: the others differ in numbers.
    synthesized = [synthesize(environment) for environment in ("local", "prod")]
    templates = [str(part.path) for each in synthesized for part in each.parts.values()]
    done = run([*CFN_LINT, "--", *templates])
    assert (done.returncode, done.stdout.strip()) == (0, "")


@pytest.mark.parametrize("environment", ["local", "prod"])
def test_cdk_nag_looked_and_found_nothing_that_is_not_accepted(synthesize: Synthesize, environment: str):
    report = json.loads((synthesize(environment).folder / "validation-report.json").read_text())
    plugins = {plugin["pluginName"]: plugin for plugin in report["pluginReports"]}
    assert plugins["AwsSolutions"]["conclusion"] == "success"
    assert [plugin["violations"] for plugin in plugins.values()] == [[]] * len(plugins)


@pytest.mark.slow
@pytest.mark.parametrize(
    "context",
    [
        {"media_cache_host": "off", "media_host": "off"},
        {
            "sts_source": "gpu_host",
            "gpu_host_image": "ami-0123456789abcdef3",
            "gpu_host_container": f"livedub/sts@sha256:{'a' * 64}",
        },
    ],
    ids=["hosts-off", "gpu-host"],
)
def test_other_ways_to_deploy_it_are_as_clean(context: dict[str, str], sources: "Sources", tmp_path: Path):
    synthesized = synthesize_into(tmp_path, given("dev", **context), sources)
    report = json.loads((tmp_path / "validation-report.json").read_text())
    assert [violation for plugin in report["pluginReports"] for violation in plugin["violations"]] == []
    changed = [str(synthesized.part(name).path) for name in ("media", "workers", "media-cache")]
    done = run([*CFN_LINT, "--", *changed])
    assert (done.returncode, done.stdout.strip()) == (0, "")


@pytest.mark.slow
def test_cdk_nag_would_find_something(tmp_path: Path):
    """Else the test above proves nothing. In its own process: a failed synthesis ends it."""
    code = (
        "import sys; from pathlib import Path; from aws_cdk import aws_sqs\n"
        "from infra.app import build_control_plane; from infra.config import environment_config\n"
        "stacks = build_control_plane(environment_config('local'), outdir=Path(sys.argv[1]))\n"
        "aws_sqs.Queue(stacks.state, 'Careless')\n"
        "stacks.app.synth()"
    )
    paths = f"{ROOT}{os.pathsep}{ROOT / 'layers/core/python'}"
    done = run([sys.executable, "-c", code, str(tmp_path)], {**os.environ, "PYTHONPATH": paths})
    assert done.returncode != 0
    report = json.loads((tmp_path / "validation-report.json").read_text())
    found = {
        violation["ruleName"] for plugin in report["pluginReports"] for violation in plugin["violations"]
    }
    assert found == {"AwsSolutions-SQS3", "AwsSolutions-SQS4"}


def test_account_and_region_come_from_the_command_unless_configured(local: Synthesized, prod: Synthesized):
    def targets(synthesized: Synthesized) -> set[str]:
        artifacts = synthesized.manifest["artifacts"]
        return {artifacts[part.name]["environment"] for part in synthesized.parts.values()}

    assert targets(local) == {"aws://123456789012/us-east-1"}
    assert targets(prod) == {"aws://unknown-account/unknown-region"}
