import json
from pathlib import Path
from typing import Any, ClassVar

import boto3
import pytest
from moto import mock_aws

from livedub.library.api.routes import OPENAPI_PATH
from livedub.library.library_errors import StorageUnavailableError
from livedub.library.storage import LibraryStorage
from tests.integration.library_api.rig import TOKEN, LibraryRig
from tests.unit.functions.rig import http_event, log_lines

EVENTS = Path(__file__).parents[2] / "events"


@pytest.mark.parametrize(
    ("method", "path"),
    [
        ("GET", "/api/assets"),
        ("POST", "/api/assets/scan"),
        ("POST", "/api/jobs/"),
        ("GET", "/api/presets"),
        ("GET", "/api/status"),
        ("POST", "/graphql"),
        ("GET", "/api/nowhere"),
        ("POST", OPENAPI_PATH),
        ("GET", "/api/jobs/6f0c6a4e-3d55-4a1a-9c7e-0d3a5c1f2b10/callback"),
    ],
)
@pytest.mark.parametrize(
    "header",
    [
        None,
        "",
        "Bearer",
        "Bearer ",
        "Bearer wrong",
        f"Basic {TOKEN}",
        f"Bearer {TOKEN}x",
        TOKEN,
        "Bearer ü\ud83d",
    ],
    ids=["none", "empty", "no-token", "blank", "wrong", "basic", "longer", "bare", "odd"],
)
def test_nobody_passes_without_the_token(library: LibraryRig, method: str, path: str, header: str | None):
    answer = library.ask(
        method, path, {}, token=None, headers={} if header is None else {"authorization": header}
    )
    assert (answer.status, answer.code) == (401, "UNAUTHORIZED")
    assert answer.headers["cache-control"] == "no-store"


def test_the_scheme_is_written_in_any_case(library: LibraryRig):
    headers = {"authorization": f"bearer  {TOKEN} "}
    assert library.ask("GET", "/api/presets", token=None, headers=headers).status == 200


def test_the_document_is_open_to_all(library: LibraryRig):
    answer = library.ask("GET", OPENAPI_PATH, token=None)
    assert (answer.status, answer.body["openapi"][:3]) == (200, "3.1")


def test_an_empty_token_lets_nobody_in(library: LibraryRig, monkeypatch: pytest.MonkeyPatch):
    monkeypatch.setenv("LIBRARY_API_TOKEN", "")
    library.begin_anew()
    assert library.ask("GET", "/api/presets", token="").status == 401
    monkeypatch.undo()
    library.begin_anew()


def test_secrets_may_lie_in_secrets_manager(library: LibraryRig, monkeypatch: pytest.MonkeyPatch):
    manager = boto3.client("secretsmanager", region_name="us-east-1")
    manager.create_secret(Name="library-token", SecretString="another-token\n")
    monkeypatch.setenv("LIBRARY_API_TOKEN_SECRET", "library-token")
    monkeypatch.setenv("AWS_DEFAULT_REGION", "us-east-1")
    library.begin_anew()
    assert library.ask("GET", "/api/presets", token="another-token").status == 200  # noqa: S106
    assert library.ask("GET", "/api/presets").status == 401
    monkeypatch.undo()
    library.begin_anew()


@pytest.mark.parametrize(
    ("method", "path", "status", "allowed"),
    [
        ("GET", "/api/nowhere", 404, None),
        ("GET", "/", 404, None),
        ("DELETE", "/api/assets", 405, "GET"),
        ("PATCH", "/api/jobs/", 405, "GET, POST"),
        ("GET", "/graphql", 405, "POST"),
    ],
)
def test_what_is_not_served_is_said_in_our_words(
    library: LibraryRig, method: str, path: str, status: int, allowed: str | None
):
    answer = library.ask(method, path)
    assert (answer.status, answer.code, answer.headers.get("allow")) == (status, "NO_SUCH_ROUTE", allowed)


@pytest.mark.parametrize("case", ["library_api", "library_api_graphql"])
def test_golden_events(library: LibraryRig, case: str):
    event = json.loads((EVENTS / f"{case}.json").read_text())
    answer = library.call(event)
    assert answer.status == 200
    expected = {"found": 0, "registered": 0, "skipped": 0, "files": []}
    if case == "library_api_graphql":
        assert answer.body == {"data": {"scanMediaFolder": expected}, "errors": None}
    else:
        assert "web-1080p" in [preset["name"] for preset in answer.body["items"]]


def test_a_body_that_came_as_base64_is_read(library: LibraryRig):
    event = http_event(
        "POST",
        "/api/assets/scan",
        b'{"prefix": "shows/"}',
        {"authorization": f"Bearer {TOKEN}", "content-type": "application/json"},
        encode=True,
    )
    assert library.call(event).status == 200
    assert library.call({**event, "body": "no base64!"}).code == "INVALID_REQUEST"


def test_no_secret_is_in_a_log_line(library: LibraryRig):
    with log_lines("library_api") as lines:
        library.ask("GET", "/api/status")
        library.ask("POST", "/api/assets/upload-url", {"key": "a.mp4"})
        library.ask("POST", "/api/jobs/", {"kind": "trim", "source_key": "a secret key", "parameters": 1})
        library.ask("GET", "/api/status", token="a-wrong-token")  # noqa: S106
    assert lines
    for secret in (TOKEN, "a-wrong-token", "X-Amz-Signature", "a secret key"):
        assert secret not in str(lines)


class TestStatus:
    def test_all_is_well(self, library: LibraryRig):
        library.make_job()
        status = library.ask("GET", "/api/status").body
        assert (status["ok"], status["executor"]) == (True, "celery")
        assert [(part["name"], part["ok"]) for part in status["parts"]] == [
            ("catalogue", True),
            ("storage", True),
        ]
        assert {"state": "PENDING", "count": 1} in status["jobs"]

    def test_a_bucket_that_is_missing_is_said_to_be(self, library: LibraryRig):
        library.s3.delete_bucket(Bucket="media-out")
        answer = library.ask("GET", "/api/status")
        assert (answer.status, answer.body["ok"]) == (200, False)
        assert answer.body["parts"][1]["error"]["code"] == "NO_SUCH_BUCKET"

    @pytest.mark.slow
    def test_what_is_down_is_said_to_be(
        self, library: LibraryRig, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
    ):
        def down(_storage: LibraryStorage) -> None:
            raise StorageUnavailableError("looking for the bucket", "Connection refused.")

        monkeypatch.setenv("DATABASE_URL", f"postgresql://nobody@/none?host={tmp_path}")
        monkeypatch.setattr(LibraryStorage, "check", down)
        library.begin_anew(migrate=False)
        status = library.ask("GET", "/api/status").body
        assert [part["error"]["code"] for part in status["parts"]] == ["CATALOGUE_DOWN", "ENDPOINT_DOWN"]
        assert (status["ok"], status["assets"], status["jobs"]) == (False, [], [])
        answer = library.ask("GET", "/api/assets")
        assert (answer.status, answer.code) == (503, "CATALOGUE_DOWN")
        # An address needs neither catalogue nor storage.
        assert library.ask("POST", "/api/assets/upload-url", {"key": "a.mp4"}).status == 200
        monkeypatch.undo()
        library.begin_anew()


class TestPresets:
    OWN: ClassVar[dict[str, Any]] = {"name": "tiny", "container": "m4a", "audio": {"bitrate_kbps": 64}}

    def test_one_s_own_come_and_go(self, library: LibraryRig):
        made = library.ask("PUT", "/api/presets/tiny", self.OWN)
        assert (made.status, made.body["audio"]["bitrate_kbps"]) == (201, 64)
        assert library.ask("PUT", "/api/presets/tiny", self.OWN).status == 200
        assert library.ask("GET", "/api/presets/tiny").body == made.body
        assert "tiny" in [preset["name"] for preset in library.ask("GET", "/api/presets").body["items"]]
        gone = library.ask("DELETE", "/api/presets/tiny")
        assert (gone.status, gone.body) == (204, None)
        for method in ("GET", "DELETE"):
            answer = library.ask(method, "/api/presets/tiny")
            assert (answer.status, answer.code) == (404, "UNKNOWN_PRESET")

    def test_those_that_come_with_livedub_stay(self, library: LibraryRig):
        own = {**self.OWN, "name": "hls"}
        for method, body in (("PUT", own), ("DELETE", None)):
            answer = library.ask(method, "/api/presets/hls", body)
            assert (answer.status, answer.code) == (409, "PRESET_BUILTIN")

    @pytest.mark.parametrize(
        ("path", "change"),
        [
            ("/api/presets/other", {}),
            ("/api/presets/TINY", {"name": "TINY"}),
            ("/api/presets/tiny", {"container": "avi"}),
            ("/api/presets/tiny", {"audio": None}),
            ("/api/presets/tiny", {"audio": {"bitrate_kbps": 1}}),
        ],
    )
    def test_a_preset_that_cannot_be_is_refused(self, library: LibraryRig, path: str, change: dict[str, Any]):
        answer = library.ask("PUT", path, {**self.OWN, **change})
        assert (answer.status, answer.code) == (422, "INVALID_REQUEST")


def test_moto_is_what_answers():
    """Nothing of these tests may reach an account."""
    with mock_aws():
        assert boto3.client("sts", region_name="us-east-1").get_caller_identity()["Account"] == "123456789012"
