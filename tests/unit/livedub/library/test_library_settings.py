import pytest

from livedub.errors import ConfigurationError
from livedub.library.library_settings import LibrarySettings

VARIABLES = [
    "S3_ENDPOINT_URL",
    "S3_BUCKET_IN",
    "S3_BUCKET_OUT",
    "S3_ACCESS_KEY_ID",
    "S3_SECRET_ACCESS_KEY",
    "AWS_REGION",
    "AWS_ACCESS_KEY_ID",
    "AWS_SECRET_ACCESS_KEY",
    "AWS_SESSION_TOKEN",
    "AWS_PROFILE",
]


@pytest.fixture(autouse=True)
def _bare(monkeypatch: pytest.MonkeyPatch):
    for name in VARIABLES:
        monkeypatch.delenv(name, raising=False)


def test_defaults_are_those_of_the_documents():
    settings = LibrarySettings.load()
    assert (settings.bucket_in, settings.bucket_out) == ("mpr-media-in", "mpr-media-out")
    assert settings.region == "us-east-1"
    assert settings.endpoint_url == ""


def test_in_aws_boto3_finds_the_keys():
    assert LibrarySettings.load().static_keys is None


def test_an_endpoint_of_ones_own_has_minios_keys(monkeypatch: pytest.MonkeyPatch):
    monkeypatch.setenv("S3_ENDPOINT_URL", "http://localhost:9000/")
    settings = LibrarySettings.load()
    assert settings.endpoint_url == "http://localhost:9000"
    assert settings.static_keys == ("minioadmin", "minioadmin", "")


def test_keys_from_the_environment_win(monkeypatch: pytest.MonkeyPatch):
    monkeypatch.setenv("S3_ENDPOINT_URL", "http://localhost:9000")
    monkeypatch.setenv("AWS_ACCESS_KEY_ID", "mine")
    monkeypatch.setenv("AWS_SECRET_ACCESS_KEY", "hidden")
    monkeypatch.setenv("AWS_SESSION_TOKEN", "token")
    settings = LibrarySettings.load()
    assert settings.static_keys == ("mine", "hidden", "token")
    assert "hidden" not in repr(settings)


def test_the_storages_own_keys_win_over_those_of_aws(monkeypatch: pytest.MonkeyPatch):
    monkeypatch.setenv("AWS_ACCESS_KEY_ID", "control")
    monkeypatch.setenv("AWS_SESSION_TOKEN", "token")
    monkeypatch.setenv("S3_ACCESS_KEY_ID", "files")
    monkeypatch.setenv("S3_SECRET_ACCESS_KEY", "hidden")
    assert LibrarySettings.load().static_keys == ("files", "hidden", "")


def test_a_profile_is_meant(monkeypatch: pytest.MonkeyPatch):
    monkeypatch.setenv("S3_ENDPOINT_URL", "https://minio.example")
    monkeypatch.setenv("AWS_PROFILE", "minio")
    assert LibrarySettings.load().static_keys is None


@pytest.mark.parametrize(
    "value", ["localhost:9000", "ftp://host", "http://", "http://host/bucket", "http://h:x"]
)
def test_what_is_no_address(monkeypatch: pytest.MonkeyPatch, value: str):
    monkeypatch.setenv("S3_ENDPOINT_URL", value)
    with pytest.raises(ConfigurationError, match="S3_ENDPOINT_URL"):
        LibrarySettings.load()
