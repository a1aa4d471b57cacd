import json
import os
from pathlib import Path

import pytest

from livedub.errors import InvalidInputError
from local.aws.deployment import (
    Deployed,
    DeploymentError,
    asset_archive,
    client,
    find,
    localhost_url,
    stack_template,
)
from local.ports import free_port

OUTPUTS = {
    "HookApiUrl": "http://localhost:1/api",
    "StreamsTable": "streams",
    "WorkQueueUrl": "http://localhost:1/queue",
    "StateMachineArn": "arn:machine",
    "RelayKeySecret": "arn:key",
    "ApiTokenSecret": "arn:token",
}


def test_outputs_are_read_by_their_names():
    deployed = Deployed.from_outputs({**OUTPUTS, "Another": "ignored"})
    assert deployed.hook_api_url == "http://localhost:1/api"
    assert deployed.api_token_secret == OUTPUTS["ApiTokenSecret"]


def test_missing_outputs_are_named():
    with pytest.raises(DeploymentError, match="lack the outputs HookApiUrl, StreamsTable"):
        Deployed.from_outputs({k: v for k, v in OUTPUTS.items() if k not in {"StreamsTable", "HookApiUrl"}})


@pytest.mark.parametrize(
    "endpoint", ["http://localhost:5601", "http://127.0.0.1:5601", "http://localhost:5601/"]
)
def test_the_local_aws_is_called_localhost(endpoint: str):
    assert localhost_url(endpoint) == "http://localhost:5601"


@pytest.mark.parametrize(
    "endpoint",
    ["https://sqs.eu-west-1.amazonaws.com", "http://10.0.0.1:5601", "http://localhost", "5601", ""],
)
def test_anything_else_is_refused(endpoint: str):
    with pytest.raises(InvalidInputError, match="is no local AWS"):
        localhost_url(endpoint)


def test_the_same_content_is_packed_to_the_same_bytes(tmp_path: Path):
    for name, mtime in (("one", 1_000_000_000), ("two", 1_500_000_000)):
        folder = tmp_path / name / "assembly" / "asset.abc"
        (folder / "python").mkdir(parents=True)
        for file in ("b.py", "a.py"):
            (folder / "python" / file).write_text(file)
            os.utime(folder / "python" / file, (mtime, mtime))
    packed = [asset_archive(tmp_path / name / "assembly", "asset.abc") for name in ("one", "two")]
    assert packed[0].read_bytes() == packed[1].read_bytes()
    assert packed[0] == tmp_path / "one/archives/asset.abc.zip"


def test_packing_that_fails_leaves_nothing(tmp_path: Path):
    folder = tmp_path / "assembly" / "asset.abc"
    folder.mkdir(parents=True)
    (folder / "unreadable.py").symlink_to("/proc/self/mem")  # even root reads no byte at 0
    with pytest.raises(OSError, match="Input/output error"):
        asset_archive(tmp_path / "assembly", "asset.abc")
    assert list((tmp_path / "archives").iterdir()) == []


def test_a_folder_that_is_no_assembly_is_named(tmp_path: Path):
    with pytest.raises(
        InvalidInputError, match=r"control-plane\.template\.json is no part of a cloud assembly"
    ):
        stack_template(tmp_path)
    (tmp_path / "livedub-local-control-plane.template.json").write_text(json.dumps({"Resources": {}}))
    assert stack_template(tmp_path) == {"Resources": {}}


def test_where_nothing_runs_the_remedy_is_to_deploy():
    with pytest.raises(DeploymentError, match=r"no control plane was found .*Run make deploy-local"):
        find(f"http://localhost:{free_port()}")


@pytest.mark.parametrize("profile", ["", "of-somebody-else"])
def test_the_users_profile_does_not_matter(monkeypatch: pytest.MonkeyPatch, profile: str):
    monkeypatch.setenv("AWS_PROFILE", profile)
    made = client("http://127.0.0.1:5601", "sqs")
    assert made.meta.endpoint_url == "http://localhost:5601"
    assert made.meta.region_name == "us-east-1"
