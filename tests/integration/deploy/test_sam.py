"""`sam local invoke` on the synthesized template, where Docker and sam are at hand."""

import json
import shutil
import subprocess
from pathlib import Path

import pytest

from local.aws import deployment


def docker_runs() -> bool:
    if shutil.which("docker") is None:
        return False
    return subprocess.run(["docker", "info"], capture_output=True, timeout=30, check=False).returncode == 0


@pytest.mark.slow
@pytest.mark.timeout(600)
def test_sam_local_invoke_runs_a_function_of_the_template(tmp_path: Path):
    if shutil.which("sam") is None:
        pytest.skip("sam is not installed (pip install aws-sam-cli)")
    if not docker_runs():
        pytest.skip("no Docker daemon answers, and sam runs functions in containers")
    event = tmp_path / "event.json"
    # Refused before anything asks AWS, which sam does not stand in for.
    event.write_text(json.dumps({"stream_id": 5}))
    template = deployment.ensure_assembly() / f"{deployment.STACK}.template.json"
    done = subprocess.run(
        ["sam", "local", "invoke", "-t", str(template), "-e", str(event), "AcquireLease"],
        capture_output=True,
        text=True,
        timeout=580,
        check=False,
    )
    assert json.loads(done.stdout.strip().splitlines()[-1])["errorType"] == "InvalidInputError", done.stderr
