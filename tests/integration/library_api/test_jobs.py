from typing import Any
from uuid import UUID, uuid4

import pytest

from livedub.library.api.callback_auth import sign_callback
from livedub.library.types import AssetStatus, BucketRole, MediaInfo
from tests.integration.library_api.rig import BUCKET_IN, SECRET, LibraryRig

COMPLETED = {
    "attempt": 1,
    "state": "COMPLETED",
    "outputs": [{"key": "clip.0-1000.mp4", "size_bytes": 10, "content_type": "video/mp4"}],
}
FAILED = {
    "attempt": 1,
    "state": "FAILED",
    "error": {"code": "NOT_MEDIA", "message": "It is no media.", "remedy": "Take another."},
}


def begun(library: LibraryRig, **more: Any) -> str:
    """A job that somebody works on."""
    job = library.make_job(**more)
    assert library.parts.jobs.claim(UUID(job["id"]), "a worker") is not None
    return job["id"]


class TestCreation:
    def test_a_job_is_queued_once(self, library: LibraryRig):
        job = library.make_job()
        assert (job["state"], job["kind"], job["source_key"]) == ("PENDING", "trim", "clip.mp4")
        assert [str(queued.id) for queued in library.queue.submitted] == [job["id"]]
        assert library.ask("GET", f"/api/jobs/{job['id']}").body == job

    @pytest.mark.parametrize("path", ["/api/jobs", "/api/jobs/"])
    def test_the_path_is_served_with_and_without_its_slash(self, library: LibraryRig, path: str):
        library.put("clip.mp4")
        assert library.ask("POST", path, library.trim()).status == 201
        assert len(library.ask("GET", path).body["items"]) == 1

    def test_each_kind(self, library: LibraryRig):
        library.put("clip.mp4")
        made = [
            library.ask(
                "POST", "/api/jobs/", {"kind": kind, "source_key": "clip.mp4", "parameters": parameters}
            )
            for kind, parameters in (
                ("transcode", {"preset": "web-720p"}),
                ("trim", {"start_ms": 10, "end_ms": 20, "exact": True}),
                ("dub", {"targets": [{"language": "de"}, {"language": "es", "voice": "es/ef_dora"}]}),
            )
        ]
        assert [answer.status for answer in made] == [201, 201, 201]
        assert made[0].body["preset"]["container"] == "mp4"
        assert len({answer.body["output_key"] for answer in made}) == 3

    @pytest.mark.parametrize(
        ("change", "status", "code"),
        [
            ({"source_key": "missing.mp4"}, 404, "NO_SUCH_KEY"),
            ({"source_key": "../clip.mp4"}, 422, "BAD_KEY"),
            ({"source_key": "a\nb.mp4"}, 422, "BAD_KEY"),
            ({"output_key": "/clip.mp4"}, 422, "BAD_KEY"),
            ({"source_key": "é" * 600}, 422, "BAD_KEY"),
            ({"kind": "transcode", "parameters": {"preset": "web-9000p"}}, 404, "UNKNOWN_PRESET"),
            ({"parameters": {"start_ms": 5, "end_ms": 5}}, 422, "INVALID_REQUEST"),
            ({"parameters": {"start_ms": -1, "end_ms": 5}}, 422, "INVALID_REQUEST"),
            ({"kind": "burn"}, 422, "INVALID_REQUEST"),
            ({"kind": "dub"}, 422, "INVALID_REQUEST"),
            ({"priority": "high"}, 422, "INVALID_REQUEST"),
            ({"parameters": {"start_ms": "0", "end_ms": 5}}, 422, "INVALID_REQUEST"),
            ({"parameters": {"start_ms": False, "end_ms": 5}}, 422, "INVALID_REQUEST"),
            ({"parameters": {"start_ms": 0, "end_ms": 5, "exact": 1}}, 422, "INVALID_REQUEST"),
        ],
    )
    def test_what_cannot_be_done_is_refused_at_once(
        self, library: LibraryRig, change: dict[str, Any], status: int, code: str
    ):
        library.put("clip.mp4")
        answer = library.ask("POST", "/api/jobs/", {**library.trim(), **change})
        assert (answer.status, answer.code) == (status, code)
        assert answer.body["message"]
        assert answer.body["remedy"]
        assert library.queue.submitted == []
        assert library.ask("GET", "/api/jobs/").body["items"] == []

    @pytest.mark.parametrize("body", [b"", b"null", b"[]", b"{", b'"text"', b"\xff", b'{"kind": "trim"}'])
    def test_a_malformed_body_is_refused(self, library: LibraryRig, body: bytes):
        event_body = body.decode("latin-1").encode()
        answer = library.ask("POST", "/api/jobs/", event_body)
        assert (answer.status, answer.code) == (422, "INVALID_REQUEST")

    @pytest.mark.parametrize(
        "content_type",
        ["application/x-www-form-urlencoded", "multipart/form-data", "text/plain", "application/xml"],
    )
    def test_a_body_is_json_and_says_so(self, library: LibraryRig, content_type: str):
        library.put("clip.mp4")
        answer = library.ask("POST", "/api/jobs/", library.trim(), headers={"content-type": content_type})
        assert (answer.status, answer.code) == (422, "INVALID_REQUEST")
        json_in_full = {"content-type": "Application/JSON; charset=utf-8"}
        assert library.ask("POST", "/api/jobs/", library.trim(), headers=json_in_full).status == 201

    def test_a_list_is_not_taken_for_its_first_item(self, library: LibraryRig):
        library.put("clip.mp4")
        assert library.ask("POST", "/api/jobs/", [library.trim()]).code == "INVALID_REQUEST"

    def test_a_body_beyond_the_bound_is_not_looked_at(self, library: LibraryRig):
        answer = library.ask("POST", "/api/jobs/", b'{"kind": "' + b"x" * 5_300_000 + b'"}')
        assert (answer.status, answer.code) == (413, "BODY_TOO_LARGE")

    @pytest.mark.parametrize(("start_ms", "end_ms"), [(10_000, 11_000), (0, 12_000)])
    def test_a_piece_outside_a_file_that_was_read_is_refused(
        self, library: LibraryRig, start_ms: int, end_ms: int
    ):
        library.put("clip.mp4")
        library.ask("POST", "/api/assets/scan", {})
        (asset,) = library.parts.assets.list().items
        assert asset.bucket is BucketRole.IN
        # A scan has found that this is no media; what a good file would have told is entered in its place.
        assert library.parts.assets.read(asset, MediaInfo(container="mp4", duration_ms=10_000))
        assert library.parts.assets.get(asset.id).status is AssetStatus.READY
        wanted = library.trim(parameters={"start_ms": start_ms, "end_ms": end_ms})
        answer = library.ask("POST", "/api/jobs/", wanted)
        assert (answer.status, answer.code) == (422, "TRIM_OUTSIDE_DURATION")
        assert library.ask("POST", "/api/jobs/", library.trim()).status == 201

    def test_a_file_that_is_gone_makes_no_job(self, library: LibraryRig):
        library.put("clip.mp4")
        library.ask("POST", "/api/assets/scan", {})
        library.s3.delete_object(Bucket=BUCKET_IN, Key="clip.mp4")
        library.ask("POST", "/api/assets/scan", {})
        assert library.ask("POST", "/api/jobs/", library.trim()).code == "NO_SUCH_KEY"

    def test_an_idempotency_key_makes_one_job(self, library: LibraryRig):
        library.put("clip.mp4")
        made = [
            library.ask("POST", "/api/jobs/", library.trim(), headers={"idempotency-key": "mine-1"})
            for _ in range(2)
        ]
        assert made[0].body["id"] == made[1].body["id"]
        other = library.ask(
            "POST",
            "/api/jobs/",
            library.trim(output_key="other.mp4"),
            headers={"idempotency-key": "mine-1"},
        )
        assert (other.status, other.code) == (422, "INVALID_REQUEST")
        odd = library.ask("POST", "/api/jobs/", library.trim(), headers={"idempotency-key": "a b"})
        assert (odd.status, odd.code) == (422, "INVALID_REQUEST")

    def test_two_jobs_may_not_write_the_same_file_at_once(self, library: LibraryRig):
        library.make_job()
        answer = library.ask("POST", "/api/jobs/", library.trim())
        assert (answer.status, answer.code) == (409, "OUTPUT_IN_USE")

    def test_while_the_queue_is_down_a_job_waits_in_the_catalogue(self, library: LibraryRig):
        library.queue.down = True
        job = library.make_job()
        assert job["state"] == "PENDING"
        assert [str(due.id) for due in library.parts.jobs.overdue(pending_s=0)] == [job["id"]]


class TestLife:
    def test_a_cancelled_job_is_cancelled_once_and_for_all(self, library: LibraryRig):
        job = begun(library)
        for _ in range(2):
            answer = library.ask("POST", f"/api/jobs/{job}/cancel")
            assert (answer.status, answer.body["state"]) == (200, "CANCELLED")
        assert library.parts.jobs.is_cancelled(UUID(job), 1)
        assert str(library.queue.cancelled[0].id) == job

    def test_a_cancellation_holds_though_the_worker_cannot_be_told(self, library: LibraryRig):
        job = begun(library)
        library.queue.down = True
        assert library.ask("POST", f"/api/jobs/{job}/cancel").body["state"] == "CANCELLED"

    @pytest.mark.parametrize("callback", [COMPLETED, FAILED], ids=["completed", "failed"])
    def test_a_finished_job_cannot_be_cancelled(self, library: LibraryRig, callback: dict[str, Any]):
        job = begun(library)
        assert library.callback(job, callback).status == 200
        answer = library.ask("POST", f"/api/jobs/{job}/cancel")
        assert (answer.status, answer.code) == (409, "ILLEGAL_TRANSITION")

    def test_a_failed_job_is_tried_again(self, library: LibraryRig):
        job = begun(library)
        library.callback(job, FAILED)
        answer = library.ask("POST", f"/api/jobs/{job}/retry")
        assert (answer.status, answer.body["state"], answer.body["submission"]) == (200, "PENDING", 2)
        assert [queued.submission for queued in library.queue.submitted] == [1, 2]
        assert library.ask("POST", f"/api/jobs/{job}/retry").code == "ILLEGAL_TRANSITION"

    def test_what_happened_is_told_in_order(self, library: LibraryRig):
        job = begun(library)
        library.callback(job, FAILED)
        library.ask("POST", f"/api/jobs/{job}/retry")
        events = library.ask("GET", f"/api/jobs/{job}/events").body["items"]
        assert [event["state"] for event in events] == ["PENDING", "PROCESSING", "FAILED", "PENDING"]
        assert events[2]["error_code"] == "NOT_MEDIA"

    def test_addresses_of_what_it_wrote(self, library: LibraryRig):
        job = begun(library)
        assert library.ask("GET", f"/api/jobs/{job}/output-urls").body == {"items": []}
        library.callback(job, COMPLETED)
        (url,) = library.ask("GET", f"/api/jobs/{job}/output-urls").body["items"]
        assert (url["key"], url["method"]) == ("clip.0-1000.mp4", "GET")

    def test_jobs_are_listed_the_newest_first_and_filtered(self, library: LibraryRig):
        first = begun(library, key="one.mp4")
        second = library.make_job("two.mp4")["id"]
        assert [job["id"] for job in library.ask("GET", "/api/jobs/").body["items"]] == [second, first]
        page = library.ask("GET", "/api/jobs/", query={"limit": 1}).body
        rest = library.ask("GET", "/api/jobs/", query={"limit": 1, "cursor": page["next_cursor"]}).body
        assert [job["id"] for job in page["items"] + rest["items"]] == [second, first]
        for query, expected in (
            ({"state": "PROCESSING"}, [first]),
            ({"source_key": "two.mp4"}, [second]),
            ({"kind": "dub"}, []),
        ):
            found = library.ask("GET", "/api/jobs/", query=query).body["items"]
            assert [job["id"] for job in found] == expected

    @pytest.mark.parametrize("path", ["", "/events", "/output-urls"])
    def test_an_unknown_job_is_said_to_be_unknown(self, library: LibraryRig, path: str):
        answer = library.ask("GET", f"/api/jobs/{uuid4()}{path}")
        assert (answer.status, answer.code) == (404, "NO_SUCH_JOB")

    @pytest.mark.parametrize("verb", ["cancel", "retry"])
    def test_nothing_can_be_done_with_an_unknown_job(self, library: LibraryRig, verb: str):
        assert library.ask("POST", f"/api/jobs/{uuid4()}/{verb}").code == "NO_SUCH_JOB"


class TestCallbacks:
    def test_a_genuine_one_ends_the_job_and_may_be_told_again(self, library: LibraryRig):
        job = begun(library)
        for _ in range(2):
            answer = library.callback(job, COMPLETED)
            assert (answer.status, answer.body["state"], answer.body["progress"]) == (200, "COMPLETED", 1.0)
        states = [event["state"] for event in library.ask("GET", f"/api/jobs/{job}/events").body["items"]]
        assert states == ["PENDING", "PROCESSING", "COMPLETED"]

    def test_a_job_that_was_never_begun_may_fail(self, library: LibraryRig):
        job = library.make_job()["id"]
        answer = library.callback(job, {**FAILED, "attempt": 0})
        assert (answer.status, answer.body["state"]) == (200, "FAILED")

    def test_the_same_signature_counts_once(self, library: LibraryRig):
        job = begun(library)
        body = b'{"attempt": 1, "state": "CANCELLED"}'
        headers = sign_callback(SECRET, UUID(job), body)
        assert library.callback(job, body, headers).status == 200
        answer = library.callback(job, body, headers)
        assert (answer.status, answer.code) == (401, "CALLBACK_REPLAYED")

    def test_another_process_knows_the_signature_too(self, library: LibraryRig):
        job = begun(library)
        body = b'{"attempt": 1, "state": "CANCELLED"}'
        headers = sign_callback(SECRET, UUID(job), body)
        assert library.callback(job, body, headers).status == 200
        library.begin_anew()
        assert library.callback(job, body, headers).code == "CALLBACK_REPLAYED"

    def test_a_forged_one_changes_nothing(self, library: LibraryRig):
        job = begun(library)
        body = b'{"attempt": 1, "state": "COMPLETED"}'
        for headers in (
            {},
            sign_callback("another-secret-of-32-characters!", UUID(job), body),
            sign_callback(SECRET, uuid4(), body),
            sign_callback(SECRET, UUID(job), body + b" "),
        ):
            answer = library.callback(job, body, headers)
            assert (answer.status, answer.code) == (401, "CALLBACK_FORGED")
        assert library.ask("GET", f"/api/jobs/{job}").body["state"] == "PROCESSING"

    def test_a_bearer_token_opens_no_callback(self, library: LibraryRig):
        job = begun(library)
        answer = library.ask("POST", f"/api/jobs/{job}/callback", COMPLETED)
        assert (answer.status, answer.code) == (401, "CALLBACK_FORGED")

    def test_nothing_of_a_body_is_looked_at_before_its_signature(self, library: LibraryRig):
        answer = library.callback(str(uuid4()), b"no JSON", {})
        assert answer.code == "CALLBACK_FORGED"

    @pytest.mark.parametrize(
        "body",
        [
            {"attempt": 1, "state": "PENDING"},
            {"attempt": 1, "state": "FAILED"},
            {**COMPLETED, "error": FAILED["error"]},
            {**FAILED, "outputs": COMPLETED["outputs"]},
            {"state": "COMPLETED"},
            {**COMPLETED, "attempt": -1},
        ],
    )
    def test_one_that_makes_no_sense_is_refused(self, library: LibraryRig, body: dict[str, Any]):
        job = begun(library)
        answer = library.callback(job, body)
        assert (answer.status, answer.code) == (422, "INVALID_REQUEST")

    def test_an_attempt_that_lost_its_job_is_fenced(self, library: LibraryRig):
        job = begun(library)
        assert library.parts.jobs.claim(UUID(job), "a worker") is not None
        answer = library.callback(job, COMPLETED)
        assert (answer.status, answer.code) == (409, "FENCED")
        assert library.callback(job, {**COMPLETED, "attempt": 2}).status == 200

    def test_a_cancelled_job_stays_cancelled(self, library: LibraryRig):
        job = begun(library)
        library.ask("POST", f"/api/jobs/{job}/cancel")
        answer = library.callback(job, COMPLETED)
        assert (answer.status, answer.code) == (409, "CANCELLED")

    def test_an_unknown_job(self, library: LibraryRig):
        assert library.callback(str(uuid4()), COMPLETED).code == "NO_SUCH_JOB"
