"""The same by GraphQL: the same operations, the same codes."""

from typing import Any
from uuid import UUID, uuid4

import pytest

from livedub.library.api.graphql_limits import MAX_DEPTH
from tests.integration.library_api.rig import LibraryRig

CREATE = """
mutation ($key: String!, $parameters: JobParametersInput!, $once: String) {
  createJob(sourceKey: $key, parameters: $parameters, idempotencyKey: $once) {
    id kind state outputKey
    preset { name video { maxHeight } }
    parameters {
      __typename
      ... on TranscodeParameters { preset }
      ... on TrimParameters { startMs endMs exact }
      ... on DubParameters { sourceLanguage subtitles targets { language voice } }
    }
  }
}
"""


def code_of(answer: Any) -> str:
    (error,) = answer["errors"]
    assert error["message"]
    assert "remedy" in error["extensions"]
    return error["extensions"]["code"]


@pytest.fixture
def shelf(library: LibraryRig) -> LibraryRig:
    for key in ("shows/one.mp4", "shows/two.mkv", "voice.wav"):
        library.put(key)
    assert library.ask("POST", "/api/assets/scan", {}).body["registered"] == 3
    return library


def test_scan(library: LibraryRig):
    library.put("shows/one.mp4")
    library.put("two.wav")
    answer = library.graphql("mutation { scanMediaFolder { found registered skipped files } }")
    assert answer == {
        "data": {
            "scanMediaFolder": {
                "found": 2,
                "registered": 2,
                "skipped": 0,
                "files": ["shows/one.mp4", "two.wav"],
            }
        },
        "errors": None,
    }
    answer = library.graphql(
        "mutation ($p: String!) { scanMediaFolder(prefix: $p) { found skipped } }", p="shows/"
    )
    assert answer["data"]["scanMediaFolder"] == {"found": 1, "skipped": 1}


def test_assets_in_pages_and_filtered(shelf: LibraryRig):
    query = """query ($first: Int!, $after: String!) {
      assets(first: $first, after: $after) { nextCursor items { id key sizeBytes status streams { kind } } }
    }"""
    first = shelf.graphql(query, first=2, after="")["data"]["assets"]
    rest = shelf.graphql(query, first=2, after=first["nextCursor"])["data"]["assets"]
    assert [asset["key"] for asset in first["items"] + rest["items"]] == [
        "shows/one.mp4",
        "shows/two.mkv",
        "voice.wav",
    ]
    found = shelf.graphql('{ assets(search: "TWO", bucket: IN, status: UNREADABLE) { items { key } } }')
    assert found["data"]["assets"]["items"] == [{"key": "shows/two.mkv"}]


def test_one_asset_and_the_address_of_its_file(shelf: LibraryRig):
    listed = shelf.ask("GET", "/api/assets").body["items"][0]
    answer = shelf.graphql(
        "query ($id: UUID!) { asset(id: $id) { key error { code } } downloadUrl(assetId: $id) { url method } }",
        id=listed["id"],
    )
    assert answer["data"]["asset"] == {"key": listed["key"], "error": {"code": listed["error"]["code"]}}
    assert answer["data"]["downloadUrl"]["method"] == "GET"
    unknown = shelf.graphql("query ($id: UUID!) { asset(id: $id) { key } }", id=str(uuid4()))
    assert (unknown["data"], code_of(unknown)) == ({"asset": None}, "NO_SUCH_ASSET")


def test_sizes_beyond_32_bits_are_told(library: LibraryRig):
    library.put("long.mp4")
    library.ask("POST", "/api/assets/scan", {})
    with library.parts.catalogue.database._database.transaction() as connection:
        connection.execute("UPDATE media_assets SET size_bytes = 5000000000")
    answer = library.graphql("{ assets { items { sizeBytes } } }")
    assert answer["data"]["assets"]["items"] == [{"sizeBytes": 5_000_000_000}]


def test_an_address_to_upload(library: LibraryRig):
    query = "mutation ($key: String!) { createUploadUrl(key: $key) { method contentType expiresAt } }"
    answer = library.graphql(query, key="a.mp4")
    assert answer["data"]["createUploadUrl"]["contentType"] == "video/mp4"
    assert code_of(library.graphql(query, key="../a.mp4")) == "BAD_KEY"
    assert code_of(library.graphql(query, key="a.txt")) == "UNSUPPORTED_TYPE"


@pytest.mark.parametrize(
    ("parameters", "kind", "told"),
    [
        (
            {"transcode": {"preset": "web-720p"}},
            "TRANSCODE",
            {"__typename": "TranscodeParameters", "preset": "web-720p"},
        ),
        (
            {"trim": {"startMs": 1, "endMs": 2}},
            "TRIM",
            {"__typename": "TrimParameters", "startMs": 1, "endMs": 2, "exact": False},
        ),
        (
            {"dub": {"targets": [{"language": "es", "voice": "es/ef_dora"}]}},
            "DUB",
            {
                "__typename": "DubParameters",
                "sourceLanguage": "auto",
                "subtitles": True,
                "targets": [{"language": "es", "voice": "es/ef_dora"}],
            },
        ),
    ],
)
def test_each_kind_of_job(library: LibraryRig, parameters: dict[str, Any], kind: str, told: dict[str, Any]):
    library.put("clip.mp4")
    answer = library.graphql(CREATE, key="clip.mp4", parameters=parameters, once="one")
    job = answer["data"]["createJob"]
    assert (job["kind"], job["state"], job["parameters"]) == (kind, "PENDING", told)
    assert [str(queued.id) for queued in library.queue.submitted] == [job["id"]]
    again = library.graphql(CREATE, key="clip.mp4", parameters=parameters, once="one")
    assert again["data"]["createJob"]["id"] == job["id"]
    by_rest = library.ask("GET", f"/api/jobs/{job['id']}").body
    assert (by_rest["kind"], by_rest["output_key"]) == (kind.lower(), job["outputKey"])


@pytest.mark.parametrize(
    ("key", "parameters", "code"),
    [
        ("missing.mp4", {"trim": {"startMs": 0, "endMs": 2}}, "NO_SUCH_KEY"),
        ("../clip.mp4", {"trim": {"startMs": 0, "endMs": 2}}, "BAD_KEY"),
        ("clip.mp4", {"transcode": {"preset": "web-9000p"}}, "UNKNOWN_PRESET"),
        ("clip.mp4", {"trim": {"startMs": 5, "endMs": 2}}, "INVALID_REQUEST"),
        ("clip.mp4", {"dub": {"targets": []}}, "INVALID_REQUEST"),
        ("clip.mp4", {"dub": {"targets": [{"language": "klingon"}]}}, "INVALID_REQUEST"),
        ("clip.mp4", {}, "INVALID_REQUEST"),
        ("clip.mp4", {"trim": None}, "INVALID_REQUEST"),
        (
            "clip.mp4",
            {"trim": {"startMs": 0, "endMs": 2}, "transcode": {"preset": "web-720p"}},
            "INVALID_REQUEST",
        ),
        ("clip.mp4", {"trim": {"startMs": 2**40, "endMs": 2}}, "INVALID_REQUEST"),
    ],
)
def test_what_cannot_be_done_is_refused_at_once(
    library: LibraryRig, key: str, parameters: dict[str, Any], code: str
):
    library.put("clip.mp4")
    assert code_of(library.graphql(CREATE, key=key, parameters=parameters)) == code
    assert library.queue.submitted == []


def test_a_job_from_its_cancellation_to_its_next_try(library: LibraryRig):
    job = library.make_job()["id"]
    cancel = "mutation ($id: UUID!) { cancelJob(id: $id) { state } }"
    retry = "mutation ($id: UUID!) { retryJob(id: $id) { state submission } }"
    assert library.graphql(cancel, id=job)["data"]["cancelJob"] == {"state": "CANCELLED"}
    assert library.graphql(retry, id=job)["data"]["retryJob"] == {"state": "PENDING", "submission": 2}
    assert code_of(library.graphql(retry, id=job)) == "ILLEGAL_TRANSITION"
    assert code_of(library.graphql(cancel, id=str(uuid4()))) == "NO_SUCH_JOB"
    answer = library.graphql(
        """query ($id: UUID!) {
          job(id: $id) { state attempt error { code } outputs { key sizeBytes } startedAt }
          jobEvents(jobId: $id) { number state }
          outputUrls(jobId: $id) { url }
          jobs(state: PENDING, kind: TRIM, sourceKey: "clip.mp4") { items { id } nextCursor }
        }""",
        id=job,
    )["data"]
    assert answer["job"] == {
        "state": "PENDING",
        "attempt": 0,
        "error": None,
        "outputs": [],
        "startedAt": None,
    }
    assert [event["state"] for event in answer["jobEvents"]] == ["PENDING", "CANCELLED", "PENDING"]
    assert answer["outputUrls"] == []
    assert answer["jobs"] == {"items": [{"id": job}], "nextCursor": None}


def test_a_finished_job_cannot_be_cancelled(library: LibraryRig):
    job = library.make_job()["id"]
    assert library.parts.jobs.claim(UUID(job), "a worker") is not None
    library.parts.jobs.complete(UUID(job), 1, [])
    cancelled = library.graphql("mutation ($id: UUID!) { cancelJob(id: $id) { state } }", id=job)
    assert code_of(cancelled) == "ILLEGAL_TRANSITION"


def test_presets(library: LibraryRig):
    put = (
        "mutation ($preset: PresetInput!) { putPreset(preset: $preset) { name audio { bitrateKbps codec } } }"
    )
    own = {"name": "tiny", "container": "M4A", "audio": {"bitrateKbps": 64}}
    assert library.graphql(put, preset=own)["data"]["putPreset"]["audio"] == {
        "bitrateKbps": 64,
        "codec": "aac",
    }
    names = [
        preset["name"] for preset in library.graphql("{ presets { name container } }")["data"]["presets"]
    ]
    assert {"tiny", "web-1080p", "hls"} <= set(names)
    assert library.graphql('{ preset(name: "tiny") { description } }')["data"]["preset"] == {
        "description": ""
    }
    assert library.graphql('mutation { deletePreset(name: "tiny") }')["data"] == {"deletePreset": True}
    assert code_of(library.graphql('{ preset(name: "tiny") { name } }')) == "UNKNOWN_PRESET"
    assert code_of(library.graphql('mutation { deletePreset(name: "hls") }')) == "PRESET_BUILTIN"
    assert code_of(library.graphql(put, preset={**own, "audio": {"bitrateKbps": 1}})) == "INVALID_REQUEST"


def test_status(library: LibraryRig):
    answer = library.graphql(
        "{ systemStatus { ok version executor parts { name ok } jobs { state count } assets { status count } } }"
    )["data"]["systemStatus"]
    assert (answer["ok"], answer["executor"]) == (True, "celery")
    assert {"state": "PENDING", "count": 0} in answer["jobs"]


class TestAbuse:
    @pytest.mark.parametrize("first", [201, 2**31 - 1])
    @pytest.mark.parametrize("field", ["assets", "jobs"])
    def test_a_page_holds_no_more_than_by_rest(self, library: LibraryRig, field: str, first: int):
        answer = library.graphql(f"{{ {field}(first: {first}) {{ nextCursor }} }}")
        assert (answer["data"], code_of(answer)) == (None, "PAGE_TOO_LARGE")

    @pytest.mark.parametrize("first", ["0", "-1", "2147483648", '"ten"', "1.5"])
    def test_a_page_is_of_some_size(self, library: LibraryRig, first: str):
        assert code_of(library.graphql(f"{{ assets(first: {first}) {{ nextCursor }} }}")) == "INVALID_REQUEST"

    def test_a_query_too_deep_is_not_run(self, library: LibraryRig):
        deep = "{ jobs " + "{ items " * MAX_DEPTH + "{ id }" + "}" * MAX_DEPTH + "}"
        answer = library.graphql(deep)
        assert (answer["data"], code_of(answer)) == (None, "QUERY_TOO_DEEP")

    def test_a_query_of_many_aliases_is_not_run(self, library: LibraryRig):
        many = "{" + " ".join(f"a{at}: presets {{ name }}" for at in range(300)) + "}"
        assert code_of(library.graphql(many)) == "QUERY_TOO_LARGE"

    def test_the_deepest_query_the_schema_allows_is_run(self, library: LibraryRig):
        answer = library.graphql(
            "{ jobs { items { preset { video { codec } } parameters { ... on DubParameters { targets { voice } } } } } }"
        )
        assert answer == {"data": {"jobs": {"items": []}}, "errors": None}

    @pytest.mark.parametrize(
        "query", ["{", "{ nothing }", "{ jobs }", "mutation { presets { name } }", "subscription { a }"]
    )
    def test_what_the_schema_does_not_have_is_refused(self, library: LibraryRig, query: str):
        answer = library.graphql(query)
        assert answer["data"] is None
        assert {error["extensions"]["code"] for error in answer["errors"]} == {"INVALID_REQUEST"}

    @pytest.mark.parametrize(
        "body",
        [
            {},
            {"query": ""},
            {"query": "{ presets { name } }", "variables": []},
            {"query": "{ presets { name } }", "more": 1},
            {"query": "x" * 40_000},
            [{"query": "{ presets { name } }"}, {"query": "{ presets { name } }"}],
        ],
    )
    def test_what_is_no_graphql_request_is_refused(self, library: LibraryRig, body: Any):
        answer = library.ask("POST", "/graphql", body)
        assert (answer.status, answer.code) == (422, "INVALID_REQUEST")

    def test_what_nobody_expected_says_nothing_about_itself(
        self, library: LibraryRig, monkeypatch: pytest.MonkeyPatch
    ):
        def broken(_presets: object) -> None:
            raise ZeroDivisionError("a secret")

        monkeypatch.setattr(type(library.parts.presets), "list", broken)
        answer = library.graphql("{ presets { name } }")
        assert code_of(answer) == "INTERNAL"
        assert "secret" not in str(answer)


def test_one_of_several_operations_is_chosen_by_its_name(library: LibraryRig):
    query = "query one { presets { name } } query two { systemStatus { ok } }"
    asked = {"query": query, "operationName": "two"}
    assert library.ask("POST", "/graphql", asked).body["data"] == {"systemStatus": {"ok": True}}
    none = library.ask("POST", "/graphql", {**asked, "operationName": "three"}).body
    assert code_of(none) == "INVALID_REQUEST"
