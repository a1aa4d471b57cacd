"""No spelling of a path leads out of the objects, for reading or for writing."""

import pytest

from .media_rig import MediaHost, auth, path_of, raw

SECRET = b"nobody may read this"
DOTS = [
    "..",
    "%2e%2e",
    "%2E.",
    ".%2e",
    "%252e%252e",
    "%c0%ae%c0%ae",
    "..;",
    "%u002e%u002e",
    "..%00",
    "....//..",
]
SLASHES = ["/", "%2f", "%2F", "%5c", "\\", "%252f", "%c0%af", "//", "/./"]
OBJECT = path_of("traversal")


def spellings(target: str) -> list[str]:
    found = [
        f"/media/{OBJECT[7:9]}{slash}{dots}{slash}{dots}{slash}{target}" for dots in DOTS for slash in SLASHES
    ]
    found += [f"/media{slash}{dots}{slash}{target}" for dots in DOTS for slash in SLASHES]
    found += [f"{dots}{slash}{target}" for dots in DOTS for slash in SLASHES]
    found += [
        f"//{target}",
        f"/%2e/{target}",
        f"/media/{target}",
        f"/{target}%00{OBJECT}",
        f"/{target}?{OBJECT}",
    ]
    found += [f"{OBJECT}/../../../{target}", f"{OBJECT}%00/../../{target}", f"{OBJECT}%0a", f"{OBJECT}%20"]
    found += [
        f"{OBJECT}/",
        f"{OBJECT}/.",
        f"{OBJECT}%2f",
        f"{OBJECT};x",
        f"{OBJECT}%23",
        f"/media/{OBJECT[7:9]}//{OBJECT[10:]}/",
    ]
    return found


@pytest.fixture
def outside(host: MediaHost):
    files = [host.data_dir / "secret", host.data_dir / "staging" / "secret", host.data_dir.parent / "secret"]
    for file in files:
        file.write_bytes(SECRET)
    yield
    for file in files:
        file.unlink()


@pytest.mark.parametrize("target", ["secret", "staging/secret", "etc/passwd"])
@pytest.mark.usefixtures("outside")
def test_no_read_leaves_the_objects(host: MediaHost, target: str):
    for path in spellings(target):
        with host.connect() as connection:
            request = f"GET {path} HTTP/1.1\r\nHost: x\r\nConnection: close\r\n\r\n"
            answer = raw(connection, request.encode("latin-1"))
        assert answer.status in (400, 404), path
        assert SECRET not in answer.body
        assert b"root:" not in answer.body


@pytest.mark.parametrize("method", ["PUT", "DELETE"])
@pytest.mark.usefixtures("outside")
def test_no_write_leaves_the_objects(host: MediaHost, method: str):
    def everything() -> dict[str, bytes]:
        return {
            str(file): file.read_bytes() for file in host.data_dir.parent.rglob("secret*") if file.is_file()
        }

    before, objects = everything(), host.objects()
    for path in spellings("secret"):
        body = b"xx" if method == "PUT" else b""
        head = (
            f"{method} {path} HTTP/1.1\r\nHost: x\r\nAuthorization: {auth()['Authorization']}\r\n"
            f"Content-Length: {len(body)}\r\nConnection: close\r\n\r\n"
        )
        with host.connect() as connection:
            answer = raw(connection, head.encode("latin-1") + body)
        assert answer.status in (400, 404), path
    assert everything() == before
    assert host.objects() == objects


def test_an_alias_of_a_path_reads_the_same_object_and_writes_none(host: MediaHost):
    assert host.put(OBJECT, b"the object").status == 201
    for alias in (OBJECT.replace("/media/", "/media//"), OBJECT.replace("/media/", "/media/./")):
        with host.connect() as connection:
            got = raw(connection, f"GET {alias} HTTP/1.1\r\nHost: x\r\nConnection: close\r\n\r\n".encode())
        assert (got.status, got.body) in ((200, b"the object"), (404, b""))
        assert host.put(alias, b"changed").status == 404
    assert host.request("GET", OBJECT).body == b"the object"
