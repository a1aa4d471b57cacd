"""The app as a whole: offline, the same every time, clean by cfn-lint and cdk-nag."""

import json
import os
import shutil
import subprocess
import sys
from pathlib import Path

import pytest

from tests.infra.conftest import ROOT, Synthesize, Synthesized

NO_NETWORK = ["unshare", "--user", "--map-root-user", "--net"]


def run(argv: list[str], env: dict[str, str] | None = None) -> subprocess.CompletedProcess[str]:
    return subprocess.run(argv, cwd=ROOT, env=env, capture_output=True, text=True, timeout=100, check=False)


def synthesize_alone(out: Path, environment: str, *, prefix: list[str]) -> subprocess.CompletedProcess[str]:
    return run(
        [*prefix, sys.executable, "-m", "infra.app"],
        {
            "PATH": os.environ["PATH"],
            "HOME": os.environ.get("HOME", "/tmp"),  # noqa: S108
            "PYTHONPATH": f"{ROOT}{os.pathsep}{ROOT / 'layers/core/python'}",
            "CDK_OUTDIR": str(out),
            "CDK_CONTEXT_JSON": json.dumps({"environment": environment} if environment else {}),
            "LIVEDUB_HEARTBEAT_S": "99",
        },
    )


def test_it_needs_no_network_and_gives_the_same_bytes_whatever_the_machine_says(
    local: Synthesized, tmp_path: Path
):
    without_network = (
        NO_NETWORK if shutil.which("unshare") and run([*NO_NETWORK, "true"]).returncode == 0 else []
    )
    done = synthesize_alone(tmp_path / "out", "local", prefix=without_network)
    assert done.returncode == 0, done.stderr
    for name in (f"{local.stack}.template.json", f"{local.stack}.assets.json"):
        assert (tmp_path / "out" / name).read_bytes() == (local.folder / name).read_bytes()
    manifest = json.loads((local.folder / "manifest.json").read_text())
    assert "missing" not in manifest, "a look-up asks the network at synthesis"
    if not without_network:
        pytest.skip(
            "same bytes, but this machine lets nobody make a network of his own: offline is not proven"
        )


@pytest.mark.parametrize(
    ("environment", "words"),
    [("", "infra: no environment is chosen."), ("qa", "infra: environment 'qa' does not exist.")],
)
def test_a_wrong_environment_is_one_line(tmp_path: Path, environment: str, words: str):
    done = synthesize_alone(tmp_path / "out", environment, prefix=[])
    assert done.returncode == 1
    assert words in done.stderr
    assert "Traceback" not in done.stderr


def test_cfn_lint_finds_nothing(synthesize: Synthesize):
    synthesized = [synthesize(environment) for environment in ("local", "dev", "staging", "prod")]
    templates = [str(each.folder / f"{each.stack}.template.json") for each in synthesized]
    # W3005: CDK lists dependencies that a reference implies already.
    done = run([str(Path(sys.executable).with_name("cfn-lint")), "--ignore-checks=W3005", "--", *templates])
    assert (done.returncode, done.stdout.strip()) == (0, "")


def test_cdk_nag_looked_and_found_nothing_that_is_not_accepted(prod: Synthesized):
    report = json.loads((prod.folder / "validation-report.json").read_text())
    assert [(plugin["pluginName"], plugin["conclusion"]) for plugin in report["pluginReports"]] == [
        ("AwsSolutions", "success")
    ]


def test_cdk_nag_would_find_something(tmp_path: Path):
    """Else the test above proves nothing. In its own process: a failed synthesis ends it."""
    code = (
        "import sys; from pathlib import Path; from aws_cdk import aws_sqs\n"
        "from infra.app import build_app; from infra.config import environment_config\n"
        "app, stack = build_app(environment_config('local'), outdir=Path(sys.argv[1]))\n"
        "aws_sqs.Queue(stack, 'Careless')\n"
        "app.synth()"
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
    def target(synthesized: Synthesized) -> str:
        manifest = json.loads((synthesized.folder / "manifest.json").read_text())
        return manifest["artifacts"][synthesized.stack]["environment"]

    assert target(local) == "aws://123456789012/us-east-1"
    assert target(prod) == "aws://unknown-account/unknown-region"
