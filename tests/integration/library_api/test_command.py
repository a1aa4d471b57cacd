"""`livedub library` against the API's own handler."""

import functools
import json
from enum import Enum
from pathlib import Path
from typing import Any
from uuid import UUID, uuid4

import httpx
import pytest
from typer.testing import CliRunner

from livedub.cli import library_jobs, main
from livedub.cli.library import named_uploads
from livedub.cli.library_access import find_library, library_file, shared_library
from livedub.cli.library_choices import BucketChoice, KindChoice, StateChoice, StatusChoice
from livedub.errors import ConfigurationError, InvalidInputError
from livedub.library.api import rest_client
from livedub.library.api.api_types import AssetFilter
from livedub.library.library_errors import LibraryError, LibraryErrorCode
from livedub.library.types import AssetStatus, BucketRole, JobKind, JobOutput, JobState, MediaError
from local.aws.http_event import HttpRequest, Matched, function_answer, request_event
from tests.integration.library_api.rig import BUCKET_IN, TOKEN, Answer, LibraryRig

URL = "http://library.test"


class HandlerTransport(httpx.BaseTransport):
    """Hands requests to the handler, as API Gateway would."""

    def __init__(self, rig: LibraryRig) -> None:
        self._rig = rig

    def handle_request(self, request: httpx.Request) -> httpx.Response:
        asked = HttpRequest(
            request.method,
            request.url.path,
            request.url.query.decode(),
            list(request.headers.items()),
            request.read(),
        )
        event = request_event(asked, Matched("$default", "api"))
        answer: Answer = self._rig.call(event)
        body = "" if answer.body is None else json.dumps(answer.body)
        told = function_answer(
            json.dumps({"statusCode": answer.status, "headers": dict(answer.headers), "body": body}).encode()
        )
        return httpx.Response(told.status, headers=list(told.headers), content=told.body)


@pytest.fixture
def command(library: LibraryRig, monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> Any:
    """Runs `livedub library ...`; gives exit code and output, or raises what the command raised."""
    monkeypatch.setenv("LIBRARY_API_URL", URL)
    monkeypatch.setenv("XDG_STATE_HOME", str(tmp_path / "state"))
    monkeypatch.setenv("COLUMNS", "200")
    connected = functools.partial(rest_client.LibraryApi, transport=HandlerTransport(library))
    monkeypatch.setattr(rest_client, "LibraryApi", connected)

    def run(*arguments: str) -> tuple[int, str]:
        result = CliRunner().invoke(main.app, ["library", *arguments])
        if result.exception is not None and not isinstance(result.exception, SystemExit):
            raise result.exception
        # The handler runs in this process and says what a function says.
        lines = [line for line in result.output.splitlines() if not line.startswith(('{"_aws"', '{"level"'))]
        return result.exit_code, "\n".join(lines)

    return run


@pytest.fixture
def api(library: LibraryRig) -> rest_client.LibraryApi:
    return rest_client.LibraryApi(URL, TOKEN, transport=HandlerTransport(library))


def test_from_a_file_to_a_job(
    library: LibraryRig, command: Any, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
):
    clip = tmp_path / "clip.mp4"
    clip.write_bytes(b"some media" * 1_000)
    code, output = command("put", str(clip), "--prefix", "shows/")
    assert (code, "shows/clip.mp4" in output) == (0, True)
    assert "1 found: 1 registered" in command("scan")[1]
    assert "shows/clip.mp4" in command("ls", "shows/")[1]
    (listed,) = map(json.loads, command("ls", "--json", "--search", "CLIP")[1].splitlines())
    assert (listed["key"], listed["size_bytes"]) == ("shows/clip.mp4", 10_000)

    def work(_seconds: float) -> None:
        (job,) = library.parts.jobs.list().items
        assert library.parts.jobs.claim(job.id, "a worker") is not None
        output = JobOutput(key=job.output_key, size_bytes=3, content_type="video/mp4")
        library.parts.jobs.complete(job.id, 1, [output])

    monkeypatch.setattr(library_jobs.time, "sleep", work)
    code, output = command(
        "job", "trim", "shows/clip.mp4", "--start", "0.5", "--end", "2", "--wait", "--json"
    )
    job = json.loads(output.splitlines()[-1])
    assert (code, job["state"], job["parameters"]["start_ms"]) == (0, "COMPLETED", 500)
    assert job["id"] in command("job", "list", "--state", "completed")[1]
    shown = command("job", "show", job["id"])[1]
    assert "shows/clip.500-2000.mp4 (3 B)" in shown
    assert "processing" in shown
    assert "livedub library get --bucket out shows/clip.500-2000.mp4" in shown


def test_put_and_get_give_the_same_bytes(command: Any, tmp_path: Path, monkeypatch: pytest.MonkeyPatch):
    folder = tmp_path / "tour"
    (folder / "day one").mkdir(parents=True)
    (folder / "day one" / "a.wav").write_bytes(b"one")
    (folder / "b.mp4").write_bytes(b"two" * 50)
    code, output = command("put", str(folder), "--scan")
    assert (code, {"tour/b.mp4", "tour/day one/a.wav"} <= set(output.splitlines())) == (0, True)
    monkeypatch.chdir(tmp_path)
    assert command("get", "tour/b.mp4")[0] == 0
    assert (tmp_path / "b.mp4").read_bytes() == b"two" * 50
    assert command("get", "tour/day one/a.wav", str(folder))[0] == 0
    assert (folder / "a.wav").read_bytes() == b"one"
    assert {"tour/b.mp4", "tour/day one/a.wav"} == {
        json.loads(line)["key"] for line in command("ls", "--json")[1].splitlines()
    }
    with pytest.raises(LibraryError) as refused:
        command("get", "tour/none.mp4", str(tmp_path / "none.mp4"))
    assert refused.value.code is LibraryErrorCode.NO_SUCH_KEY
    assert not list(tmp_path.glob("none*"))
    with pytest.raises(LibraryError, match="--bucket in") as elsewhere:
        command("get", "--bucket", "out", "tour/b.mp4", str(tmp_path / "none.mp4"))
    assert elsewhere.value.code is LibraryErrorCode.NO_SUCH_KEY


def test_each_kind_of_job(library: LibraryRig, command: Any):
    library.put("clip.mp4")
    for arguments in (
        ("transcode", "clip.mp4", "--preset", "web-720p"),
        ("trim", "clip.mp4", "--end", "3", "--exact", "--output", "cut/clip.mp4"),
        ("dub", "clip.mp4", "--target", "es/ef_dora", "--target", "fr", "--source", "en", "--no-subtitles"),
    ):
        code, output = command("job", *arguments)
        assert (code, "pending" in output) == (0, True)
    dub, trim, transcode = library.parts.jobs.list().items
    assert transcode.preset is not None
    assert (transcode.preset.name, trim.output_key) == ("web-720p", "cut/clip.mp4")
    assert dub.parameters.model_dump() == {
        "source_language": "en",
        "targets": ({"language": "es", "voice": "es/ef_dora"}, {"language": "fr", "voice": ""}),
        "subtitles": False,
    }


def test_a_job_that_fails_makes_the_command_fail(
    library: LibraryRig, command: Any, monkeypatch: pytest.MonkeyPatch
):
    job = library.make_job()["id"]
    error = MediaError(code=LibraryErrorCode.NOT_MEDIA, message="It is [no] media.", remedy="Take another.")

    def work(_seconds: float) -> None:
        library.parts.jobs.fail(UUID(job), 0, error)

    monkeypatch.setattr(library_jobs.time, "sleep", work)
    code, output = command("job", "show", job, "--wait")
    assert (code, "NOT_MEDIA: It is [no] media." in output, "Take another." in output) == (1, True, True)
    assert "pending" in command("job", "retry", job)[1]
    assert "cancelled" in command("job", "cancel", job)[1]


def test_presets_and_status(library: LibraryRig, command: Any):
    assert "web-1080p" in command("presets")[1]
    assert {"hls", "audio-only"} <= {
        json.loads(line)["name"] for line in command("presets", "--json")[1].splitlines()
    }
    code, output = command("status")
    assert (code, "answers" in output) == (0, True)
    library.s3.delete_bucket(Bucket=BUCKET_IN)
    code, output = command("status")
    assert (code, "NO_SUCH_BUCKET" in output) == (1, True)


def test_empty_lists_say_what_to_do(command: Any):
    assert "livedub library put" in command("ls")[1]
    assert "livedub library job trim" in command("job", "list")[1]


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (("job", "dub", "clip.mp4", "--target", "klingon"), "language: String should match"),
        (("job", "trim", "clip.mp4", "--start", "5", "--end", "2"), "must lie after"),
        (("put", "nowhere.mp4"), "nowhere.mp4 is not there"),
    ],
)
def test_what_makes_no_sense_is_refused_here(command: Any, arguments: tuple[str, ...], message: str):
    with pytest.raises(InvalidInputError, match=message):
        command(*arguments)


def test_what_the_api_refuses_reaches_the_user(command: Any):
    with pytest.raises(LibraryError) as refused:
        command("job", "transcode", "missing.mp4", "--preset", "web-720p")
    assert refused.value.code is LibraryErrorCode.NO_SUCH_KEY
    with pytest.raises(LibraryError) as refused:
        command("job", "cancel", str(uuid4()))
    assert refused.value.code is LibraryErrorCode.NO_SUCH_JOB


@pytest.mark.parametrize(
    ("choice", "meant"),
    [
        (BucketChoice, BucketRole),
        (StatusChoice, AssetStatus),
        (StateChoice, JobState),
        (KindChoice, JobKind),
    ],
)
def test_options_take_the_library_s_own_words(choice: type[Enum], meant: type[Enum]):
    assert [one.value for one in choice] == [one.value for one in meant]


class TestUploads:
    def test_one_file_may_have_a_key_of_its_own(self, tmp_path: Path):
        file = tmp_path / "a.mp4"
        file.touch()
        assert named_uploads([file], key="x/y.mp4", prefix="") == [(file, "x/y.mp4")]
        for paths, key, prefix in (([file, file], "x", ""), ([file], "x", "y/"), ([tmp_path / "b"], "", "")):
            with pytest.raises(InvalidInputError):
                named_uploads(paths, key=key, prefix=prefix)

    def test_an_empty_folder_is_no_upload(self, tmp_path: Path):
        with pytest.raises(InvalidInputError, match="no file"):
            named_uploads([tmp_path], key="", prefix="")


class TestClient:
    def test_pages_are_put_together(self, library: LibraryRig, api: rest_client.LibraryApi):
        for number in range(5):
            library.put(f"{number}.wav")
        api.scan()
        assert [asset.key for asset in api.assets(AssetFilter())] == [f"{number}.wav" for number in range(5)]
        assert len(list(api.assets(AssetFilter(), most=3))) == 3

    def test_one_who_does_not_answer(self):
        def nobody(_request: httpx.Request) -> httpx.Response:
            raise httpx.ConnectError("Connection refused")

        api = rest_client.LibraryApi(URL, TOKEN, transport=httpx.MockTransport(nobody))
        with api, pytest.raises(LibraryError) as caught:
            api.presets()
        assert (caught.value.code, "LIBRARY_API_URL" in caught.value.remedy) == (
            LibraryErrorCode.ENDPOINT_DOWN,
            True,
        )

    def test_one_who_is_no_library(self):
        def stranger(_request: httpx.Request) -> httpx.Response:
            return httpx.Response(502, text="<html>")

        api = rest_client.LibraryApi(URL, TOKEN, transport=httpx.MockTransport(stranger))
        with api, pytest.raises(LibraryError, match="not as the library's API does"):
            api.presets()

    def test_what_may_be_repeated_is(self):
        broken: list[str] = []

        def once_broken(request: httpx.Request) -> httpx.Response:
            if request.method not in broken:
                broken.append(request.method)
                raise httpx.ReadError("broken pipe")
            return httpx.Response(200, json={"items": []})

        with rest_client.LibraryApi(URL, TOKEN, transport=httpx.MockTransport(once_broken)) as api:
            assert api.presets() == ()
            with pytest.raises(LibraryError, match="broken pipe"):
                api.scan()

    @pytest.mark.parametrize("url", ["library", "ftp://library", "http://"])
    def test_what_is_no_address_is_said_to_be_none(self, url: str):
        with pytest.raises(ConfigurationError, match="LIBRARY_API_URL"):
            rest_client.LibraryApi(url, TOKEN)


class TestAccess:
    def test_the_environment_goes_before_what_a_stack_left(self, tmp_path: Path):
        state = {"XDG_STATE_HOME": str(tmp_path)}
        left = {
            "LIBRARY_API_URL": "http://127.0.0.1:8090",
            "LIBRARY_API_TOKEN": "t",
            "DATABASE_URL": "a secret",
        }
        with shared_library(left, state):
            path = library_file(state)
            assert path.stat().st_mode & 0o777 == 0o600
            assert "secret" not in path.read_text()
            assert find_library(state) == {
                "LIBRARY_API_URL": "http://127.0.0.1:8090",
                "LIBRARY_API_TOKEN": "t",
            }
            assert find_library({**state, "LIBRARY_API_URL": URL}) == {"LIBRARY_API_URL": URL}
        assert not path.exists()
        assert find_library(state) == {}

    def test_what_another_stack_left_meanwhile_stays(self, tmp_path: Path):
        state = {"XDG_STATE_HOME": str(tmp_path)}
        with shared_library({"LIBRARY_API_URL": "http://one"}, state):
            with shared_library({"LIBRARY_API_URL": "http://two"}, state):
                pass
            with shared_library({"LIBRARY_API_URL": "http://three"}, state):
                library_file(state).write_text('{"environment": {"LIBRARY_API_URL": "http://four"}}')
            assert find_library(state) == {"LIBRARY_API_URL": "http://four"}

    def test_a_file_that_cannot_be_read_is_named(self, tmp_path: Path):
        state = {"XDG_STATE_HOME": str(tmp_path)}
        library_file(state).parent.mkdir(parents=True)
        library_file(state).write_text("no JSON")
        with pytest.raises(ConfigurationError, match=r"library\.json"):
            find_library(state)

    def test_without_any_library_the_remedy_is_to_start_one(
        self, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
    ):
        monkeypatch.setenv("XDG_STATE_HOME", str(tmp_path))
        for name in ("LIBRARY_API_URL", "LIBRARY_API_TOKEN", "S3_BUCKET_IN", "S3_BUCKET_OUT"):
            monkeypatch.delenv(name, raising=False)
        result = CliRunner().invoke(main.app, ["library", "presets"])
        assert isinstance(result.exception, ConfigurationError)
        assert "livedub up" in result.exception.remedy
