"""What importing a handler costs: no AWS client, none of what only the first call needs. The bench has the figures."""

import json
import subprocess
import sys

import pytest

from tests.unit.functions.rig import FUNCTIONS, ROOT

_PROBE = """
import json, sys
sys.path[:0] = sys.argv[1:]
import handler
assert callable(handler.handler)
print(json.dumps(sorted(sys.modules)))
"""
_HEAVY = ("boto3", "botocore.client", "botocore.session", "aws_xray_sdk", "pydantic_settings")


@pytest.mark.parametrize("function", FUNCTIONS)
def test_importing_a_handler_builds_no_client_and_reads_no_setting(function: str):
    """As Lambda does it: the function's own folder and the layer, and no variable of ours."""
    folder, layer = ROOT / "functions" / function, ROOT / "layers" / "core" / "python"
    done = subprocess.run(
        [sys.executable, "-c", _PROBE, str(folder), str(layer)],
        capture_output=True,
        text=True,
        timeout=60,
        check=False,
        env={"PATH": "/usr/bin", "LAMBDA_TASK_ROOT": str(folder), "AWS_LAMBDA_FUNCTION_NAME": function},
        cwd="/",
    )
    assert done.returncode == 0, done.stderr
    assert not set(_HEAVY) & set(json.loads(done.stdout))


def test_there_is_a_handler_for_every_function_of_the_state_machine_and_the_api():
    assert FUNCTIONS == [
        "acquire_lease",
        "authorize_media",
        "check_tls",
        "classify_outcome",
        "execution_watch",
        "library_api",
        "media_cache_cleanup",
        "media_job_end",
        "media_job_route",
        "media_job_run",
        "media_job_sweep",
        "on_publish",
        "on_unpublish",
        "publish_tls_bundle",
        "reconcile_streams",
        "release_lease",
        "settle_tls_stores",
        "start_tls_rotation",
        "stream_api",
        "warm_sts",
    ]
