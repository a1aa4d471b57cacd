"""Every status of the cache tied to its case, over HTTPS through Caddy."""

import base64
import hashlib
import itertools
import json

import pytest

from livedub.media_cache.key import Variant
from livedub.media_cache.wire import METADATA_HEADER, AudioVariant, CacheMetadata, encode_metadata

from .media_rig import MediaHost, auth, exchange, path_of, raw

BODY = bytes(range(256)) * 160
MAX_BYTES = 4 * 1024 * 1024
NAMES = (f"object {number}" for number in itertools.count())


@pytest.fixture
def path() -> str:
    return path_of(next(NAMES))


@pytest.fixture
def stored(host: MediaHost, path: str) -> str:
    assert host.put(path, BODY).status == 201
    return path


def test_what_was_put_is_what_is_got(host: MediaHost, stored: str):
    got = host.request("GET", stored)
    assert (got.status, got.body) == (200, BODY)
    assert got.headers["content-type"] == "audio/x-alaw-basic"
    assert got.headers["cache-control"] == "private, max-age=31536000, immutable"
    assert got.headers["accept-ranges"] == "bytes"


def test_pcm_has_its_own_type(host: MediaHost):
    path = path_of("pcm", Variant.PCM)
    assert host.put(path, BODY).status == 201
    assert host.request("GET", path).headers["content-type"] == "audio/pcm"


def test_201_for_a_new_object_204_for_a_replaced_one(host: MediaHost, stored: str):
    replaced = host.put(stored, b"other")
    assert (replaced.status, replaced.body) == (204, b"")
    assert host.request("GET", stored).body == b"other"


def test_head_has_the_headers_and_no_body(host: MediaHost, stored: str):
    with host.connect() as connection:
        request = f"HEAD {stored} HTTP/1.1\r\nHost: x\r\nConnection: close\r\n\r\n"
        connection.sendall(request.encode())
        answer = b""
        while data := connection.recv(65_536):
            answer += data
    assert answer.startswith(b"HTTP/1.1 200 ")
    assert f"content-length: {len(BODY)}\r\n".encode() in answer.lower()
    assert answer.endswith(b"\r\n\r\n")


@pytest.mark.parametrize(
    ("asked", "first", "last"), [("0-1599", 0, 1_599), ("-100", 40_860, 40_959), ("40000-", 40_000, 40_959)]
)
def test_206_for_a_range(host: MediaHost, stored: str, asked: str, first: int, last: int):
    got = host.request("GET", stored, headers={"Range": f"bytes={asked}"})
    assert (got.status, got.body) == (206, BODY[first : last + 1])
    assert got.headers["content-range"] == f"bytes {first}-{last}/{len(BODY)}"


def test_several_ranges_come_as_parts(host: MediaHost, stored: str):
    got = host.request("GET", stored, headers={"Range": "bytes=0-1,5-6"})
    assert got.status == 206
    assert got.headers["content-type"].startswith("multipart/byteranges")
    assert BODY[5:7] in got.body


def test_416_beyond_the_end(host: MediaHost, stored: str):
    got = host.request("GET", stored, headers={"Range": "bytes=99999999-"})
    assert (got.status, got.headers["content-range"]) == (416, f"bytes */{len(BODY)}")


@pytest.mark.parametrize("kind", ["etag", "last-modified"])
def test_304_for_what_the_client_has(host: MediaHost, stored: str, kind: str):
    first = host.request("GET", stored)
    condition = {"etag": "If-None-Match", "last-modified": "If-Modified-Since"}[kind]
    again = host.request("GET", stored, headers={condition: first.headers[kind]})
    assert (again.status, again.body) == (304, b"")


def test_a_replaced_object_has_another_etag(host: MediaHost, stored: str):
    first = host.request("GET", stored).headers["etag"]
    host.put(stored, BODY[::-1])
    assert host.request("GET", stored, headers={"If-None-Match": first}).status == 200


def test_delete_is_204_then_404_and_the_object_is_gone(host: MediaHost, stored: str):
    statuses = [host.request("DELETE", stored, headers=auth()).status for _ in range(2)]
    assert statuses == [204, 404]
    assert host.request("GET", stored).status == 404


def test_a_miss_is_404_and_nobody_keeps_it(host: MediaHost, path: str):
    got = host.request("GET", path)
    assert (got.status, got.body) == (404, b"")
    assert "cache-control" not in got.headers


@pytest.mark.parametrize("method", ["GET", "PUT", "DELETE", "POST"])
@pytest.mark.parametrize(
    "path",
    [
        "/",
        "/media",
        "/media/",
        "/media/ab",
        "/media/ab/",
        "/staging/",
        "/staging/.owner",
        "/metrics",
        "/config/",
        path_of("x").replace(".alaw", ".wav"),
        path_of("x").replace(".alaw", ""),
        path_of("x").upper(),
        path_of("x").upper().replace("MEDIA", "media").replace("ALAW", "alaw"),
        "/media/zz/" + "0" * 64 + ".alaw",
        "/media/ff/" + "0" * 64 + ".alaw",
    ],
)
def test_404_for_every_other_path(host: MediaHost, method: str, path: str):
    before = len(host.objects())
    if method == "PUT":
        assert host.put(path, BODY).status == 404
    elif method == "POST" and path == "/media/ff/" + "0" * 64 + ".alaw":
        # Only a hash tells that this shard is wrong, and nobody looks at it before the method.
        assert host.request(method, path).status == 405
    else:
        assert host.request(method, path, headers=auth()).status == 404
    assert len(host.objects()) == before


@pytest.mark.parametrize("method", ["POST", "PATCH", "OPTIONS", "TRACE", "PROPFIND"])
def test_405_with_allow_on_objects_and_probes(host: MediaHost, path: str, method: str):
    answer = host.request(method, path)
    assert (answer.status, answer.headers["allow"]) == (405, "GET, HEAD, PUT, DELETE")
    for probe in ("/health", "/ready"):
        answer = host.request(method, probe)
        assert (answer.status, answer.headers["allow"]) == (405, "GET, HEAD")


def test_health_and_ready(host: MediaHost):
    assert host.request("GET", "/health").body == b"ok"
    assert host.request("HEAD", "/health").status == 200
    ready = host.request("GET", "/ready")
    body = json.loads(ready.body)
    assert (ready.status, body["status"], set(body)) == (200, "ready", {"status", "volume_used_percent"})
    assert 0 <= body["volume_used_percent"] <= 100


@pytest.mark.parametrize("given", [{}, auth("wrong-wrong-wrong-wrong"), {"Authorization": "Basic eDp5"}])
def test_401_without_the_token(host: MediaHost, stored: str, given: dict[str, str]):
    for method, body in (("PUT", b"evil"), ("DELETE", None)):
        answer = host.request(method, stored, body, given)
        assert answer.status == 401
        assert answer.headers["www-authenticate"].startswith("Bearer")
    assert host.request("GET", stored).body == BODY


def test_early_refusals_arrive_as_they_are_and_never_as_502(host: MediaHost, path: str):
    big = b"x" * 3_000_000
    assert [host.request("PUT", path, big).status for _ in range(20)] == [401] * 20


@pytest.mark.parametrize("chunked", [False, True])
def test_413_for_a_body_too_large_and_never_502(host: MediaHost, path: str, *, chunked: bool):
    large = b"x" * (MAX_BYTES + 1)
    statuses = [host.put(path, _chunks(large) if chunked else large).status for _ in range(10)]
    assert statuses == [413] * 10
    assert not host.file(path).exists()


@pytest.mark.parametrize("chunked", [False, True])
def test_the_largest_object_is_taken(host: MediaHost, path: str, *, chunked: bool):
    largest = bytes(MAX_BYTES)
    assert host.put(path, _chunks(largest) if chunked else largest).status == 201
    assert host.request("GET", path).body == largest


@pytest.mark.parametrize(
    ("variant", "body"), [(Variant.ALAW, b""), (Variant.PCM, b""), (Variant.PCM, b"odd")]
)
def test_422_for_what_is_no_audio(host: MediaHost, variant: Variant, body: bytes):
    path = path_of(next(NAMES), variant)
    assert host.put(path, body).status == 422
    assert not host.file(path).exists()


def test_a_digest_is_checked(host: MediaHost, path: str):
    digest = base64.b64encode(hashlib.sha256(BODY).digest()).decode()
    statuses = [
        host.put(path, body, {"Content-Digest": header}).status
        for body, header in (
            (BODY, "sha-256=nonsense"),
            (BODY + b"x", f"sha-256=:{digest}:"),
            (BODY, f"sha-256=:{digest}:"),
        )
    ]
    assert statuses == [400, 422, 201]


def test_metadata_must_make_the_path(host: MediaHost):
    metadata = CacheMetadata(
        sentence="¿Qué tal?",
        voice="es/ef_dora",
        model="kokoro",
        variant=AudioVariant.of(Variant.ALAW, len(BODY)),
    )
    header = {METADATA_HEADER: encode_metadata(metadata)}
    own = f"/media/{metadata.key[:2]}/{metadata.key}.alaw"
    assert host.put(path_of("another"), BODY, header).status == 422
    assert host.put(own, BODY, header).status == 201


def test_headers_that_come_twice_are_400(host: MediaHost, path: str):
    with host.connect() as connection:
        head = f"PUT {path} HTTP/1.1\r\nHost: x\r\nContent-Length: 1\r\n" + 2 * (
            f"Authorization: {auth()['Authorization']}\r\n"
        )
        assert raw(connection, head.encode() + b"\r\nx").status == 400


def test_431_for_a_head_too_large(host: MediaHost):
    with host.connect() as connection:
        request = f"GET /{'a' * 20_000} HTTP/1.1\r\nHost: x\r\n\r\n"
        assert raw(connection, request.encode()).status == 431


def test_one_connection_serves_one_request_after_another(host: MediaHost, stored: str):
    import http.client  # noqa: PLC0415 - of this test alone

    connection = http.client.HTTPSConnection("127.0.0.1", host.port, timeout=30, context=host.context())
    try:
        statuses = [
            exchange(connection, method, stored, body, headers).status
            for method, body, headers in (
                ("GET", None, {}),
                ("PUT", BODY, {}),
                ("GET", None, {"Range": "bytes=0-0"}),
                ("PUT", BODY, auth()),
                ("DELETE", None, auth()),
                ("GET", None, {}),
            )
        ]
    finally:
        connection.close()
    assert statuses == [200, 401, 206, 204, 204, 404]


def _chunks(body: bytes) -> list[bytes]:
    return [body[at : at + 100_000] for at in range(0, len(body), 100_000)]
