"""The file that describes an endpoint: what it may say, and what is refused with a reason."""

import json
from pathlib import Path
from typing import Any

import pytest

from livedub.errors import ConfigurationError
from livedub.sts.runpod_endpoint_spec import is_sensitive, read_spec
from tests.unit.livedub.sts.runpod_account_rig import IMAGE

CHECKOUT = Path(__file__).resolve().parents[4]


def read(tmp_path: Path, **settings: Any):
    file = tmp_path / "endpoint.json"
    file.write_text(json.dumps({"gpu": {"pools": ["ADA_24"]}, **settings}))
    return read_spec(file)


def test_the_checkout_s_file_lacks_nothing_but_the_image():
    spec = read_spec(CHECKOUT / "runpod-endpoint.json")
    with pytest.raises(ConfigurationError, match=r"image is missing.*--image REGISTRY/livedub-sts@sha256"):
        spec.checked_image()


def test_the_checkout_s_file_runs_what_the_hub_s_does():
    hub = json.loads((CHECKOUT / ".runpod" / "hub.json").read_text())["config"]
    spec = read_spec(CHECKOUT / "runpod-endpoint.json")
    defaults = {variable["key"]: variable["input"]["default"] for variable in hub["env"]}
    assert spec.env.items() <= defaults.items()
    assert ",".join(spec.gpu.pools) == hub["gpuIds"]
    assert spec.disk_gb == hub["containerDiskInGb"]
    assert spec.gpu.min_cuda_version == min(hub["allowedCudaVersions"])


def test_an_idle_timeout_goes_with_queue_delay_alone(tmp_path: Path):
    assert read(tmp_path).idle_timeout_s == 60
    assert read(tmp_path, workers={"idle_timeout_s": 5}).idle_timeout_s == 5
    counting = {"type": "REQUEST_COUNT", "request_count": 4}
    assert read(tmp_path, scaling=counting).idle_timeout_s is None
    with pytest.raises(ConfigurationError, match="idle_timeout_s goes with scaling QUEUE_DELAY alone"):
        read(tmp_path, scaling=counting, workers={"idle_timeout_s": 5})


@pytest.mark.parametrize(
    ("settings", "problem"),
    [
        ({"gpu": {"pools": []}}, r"gpu\.pools: .*at least 1 item"),
        ({"gpu": {"pools": ["ADA_24"], "min_cuda_version": "12"}}, r"gpu\.min_cuda_version"),
        ({"workers": {"min": 4, "max": 3}}, "workers: min is 4, more than max, 3"),
        ({"workers": {"max": 0}}, r"workers\.max"),
        ({"workers": {"idle_timeout_s": 3_601}}, r"workers\.idle_timeout_s"),
        ({"scaling": {"type": "QUEUE_DELAY", "queue_delay_s": 0.4}}, r"scaling\.QUEUE_DELAY\.queue_delay_s"),
        ({"scaling": {"type": "GUESS"}}, "scaling: .*GUESS"),
        ({"wokers": {}}, "wokers: Extra inputs are not permitted"),
        ({"disk_gb": "30"}, "disk_gb: .*valid integer"),
        ({"env": {"A-B": "1"}}, "env: 'A-B' is no name of a variable"),
        ({"env": {"STS_API_KEY": "plain"}}, "env: STS_API_KEY looks like a secret"),
        ({"flashboot": True}, "flashboot"),
    ],
)
def test_what_no_endpoint_can_be_is_refused_by_name(tmp_path: Path, settings: dict[str, Any], problem: str):
    with pytest.raises(ConfigurationError, match=problem) as refused:
        read(tmp_path, **settings)
    assert "docs/runpod.md" in refused.value.remedy


def test_a_secret_in_the_file_is_not_repeated_by_the_error(tmp_path: Path):
    with pytest.raises(ConfigurationError) as refused:
        read(tmp_path, env={"HF_TOKEN": "hf_very_secret"})
    assert "hf_very_secret" not in str(refused.value)


def test_a_secret_may_be_named(tmp_path: Path):
    env = {"HF_TOKEN": "{{ RUNPOD_SECRET_hf_token }}", "TTS_MEDIA_CACHE_UPLOAD_TOKEN": ""}
    assert read(tmp_path, env=env).env == env


@pytest.mark.parametrize("name", ["STS_API_KEY", "HF_TOKEN", "AWS_SECRET_ACCESS_KEY", "db_password"])
def test_names_of_secrets_are_known(name: str):
    assert is_sensitive(name)


@pytest.mark.parametrize("name", ["STS_PROFILE", "KEYBOARD", "HF_HOME", "MONKEYS"])
def test_other_names_are_not_taken_for_secrets(name: str):
    assert not is_sensitive(name)


@pytest.mark.parametrize(
    "image", ["livedub-sts:gpu", "livedub-sts:latest", "livedub-sts@sha256:abc", f"{IMAGE} x"]
)
def test_an_image_must_be_one_for_good(tmp_path: Path, image: str):
    with pytest.raises(ConfigurationError, match="is no digest"):
        read(tmp_path, image=image).checked_image()
    assert read(tmp_path, image=IMAGE).checked_image() == IMAGE


def test_a_file_that_is_not_there_is_named(tmp_path: Path):
    with pytest.raises(ConfigurationError, match=r"nowhere\.json cannot be read"):
        read_spec(tmp_path / "nowhere.json")
    (tmp_path / "no.json").write_text("{")
    with pytest.raises(ConfigurationError, match="Invalid JSON"):
        read_spec(tmp_path / "no.json")
