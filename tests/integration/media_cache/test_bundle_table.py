"""What a consumer says to each fault of its CA bundle: the troubleshooting table, with Python, curl and Node.

Ours is the fourth column: `parse_ca_bundle` must stop at every fault that another stack would pass over in silence.
"""

import base64
import http.client
import shutil
import ssl
import subprocess
import sys
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

import pytest

from livedub.media_cache.errors import CaBundleError
from livedub.media_cache.tls_bundle import parse_ca_bundle, ssl_context
from livedub.media_cache.tls_material import self_signed

from .media_rig import MediaHost

OK = "ok"
UNTRUSTED = "untrusted"
REFUSED = "refused"
"""The stack says that the bundle itself is bad."""
NODE = next(
    (str(path) for path in [Path(sys.executable).with_name("node")] if path.exists()), shutil.which("node")
)
CURL = shutil.which("curl")
NODE_PROGRAM = """
const https = require('https'), fs = require('fs');
const [port, file] = process.argv.slice(1);
const request = https.get({host: '127.0.0.1', port, path: '/health', ca: fs.readFileSync(file), timeout: 20000},
  answer => { answer.resume(); answer.on('end', () => console.log('HTTP ' + answer.statusCode)); });
request.on('timeout', () => request.destroy(new Error('timeout')));
request.on('error', error => console.log(error.code || error.message));
"""


@dataclass(frozen=True)
class Row:
    name: str
    bundle: Callable[[str, str], str]
    """From the PEM of the host's certificate and of one that it had before."""
    python: str
    curl: str
    node: str
    ours: str


def one_line(pem: str) -> str:
    first, *body, last = pem.strip().splitlines()
    return f"{first}\n{''.join(body)}\n{last}\n"


def glued(pem: str) -> str:
    return pem.replace("\n-----END", "-----END")


ROWS = [
    Row("good", lambda pem, _: pem, OK, OK, OK, OK),
    Row("CRLF", lambda pem, _: pem.replace("\n", "\r\n"), OK, OK, OK, OK),
    Row("body on one long line", lambda pem, _: one_line(pem), OK, OK, OK, OK),
    Row("old and new together", lambda pem, old: old + pem, OK, OK, OK, OK),
    Row("END glued to the body", lambda pem, _: glued(pem), REFUSED, REFUSED, UNTRUSTED, OK),
    Row("line breaks became blanks", lambda pem, _: pem.replace("\n", " "), REFUSED, REFUSED, UNTRUSTED, OK),
    Row(
        "line breaks became \\n",
        lambda pem, _: pem.replace("\n", "\\n"),
        REFUSED,
        REFUSED,
        UNTRUSTED,
        REFUSED,
    ),
    Row("line breaks lost", lambda pem, _: pem.replace("\n", ""), REFUSED, REFUSED, UNTRUSTED, OK),
    Row("first line only", lambda pem, _: pem.splitlines()[0] + "\n", REFUSED, REFUSED, UNTRUSTED, REFUSED),
    Row("cut off in the middle", lambda pem, _: pem[: len(pem) // 2], REFUSED, REFUSED, UNTRUSTED, REFUSED),
    Row("stale after a rotation", lambda _, old: old, UNTRUSTED, UNTRUSTED, UNTRUSTED, UNTRUSTED),
]


@pytest.fixture(scope="module")
def old() -> str:
    return self_signed(["127.0.0.1"], ["localhost"]).fullchain_pem.decode()


@pytest.fixture(params=ROWS, ids=[row.name for row in ROWS])
def row(request: pytest.FixtureRequest) -> Row:
    return request.param


@pytest.fixture
def bundle(row: Row, host: MediaHost, old: str) -> str:
    pem = base64.b64decode(host.variables["TTS_MEDIA_CACHE_CA_BUNDLE"]).decode()
    return row.bundle(pem, old)


def get(host: MediaHost, context: ssl.SSLContext) -> str:
    connection = http.client.HTTPSConnection("127.0.0.1", host.port, timeout=30, context=context)
    try:
        connection.request("GET", "/health")
        return OK if connection.getresponse().status == 200 else "no answer"
    except ssl.SSLCertVerificationError:
        return UNTRUSTED
    finally:
        connection.close()


def test_python(row: Row, bundle: str, host: MediaHost):
    try:
        context = ssl.create_default_context(cadata=bundle)
    except ssl.SSLError:
        assert row.python == REFUSED
    else:
        assert get(host, context) == row.python


@pytest.mark.parametrize("encode", [False, True], ids=["pem", "base64"])
def test_the_consumer_library(row: Row, bundle: str, host: MediaHost, encode: bool):
    given = base64.b64encode(bundle.encode()).decode() if encode else bundle
    try:
        parsed = parse_ca_bundle(given)
    except CaBundleError:
        assert row.ours == REFUSED
    else:
        assert get(host, ssl_context(parsed)) == row.ours


@pytest.mark.skipif(CURL is None, reason="needs curl")
def test_curl(row: Row, bundle: str, host: MediaHost, tmp_path: Path):
    file = tmp_path / "ca.pem"
    file.write_text(bundle, newline="")
    done = subprocess.run(
        [
            str(CURL),
            "-sS",
            "--max-time",
            "30",
            "--cacert",
            str(file),
            f"https://127.0.0.1:{host.port}/health",
        ],
        capture_output=True,
        timeout=40,
        check=False,
    )
    assert {0: OK, 60: UNTRUSTED, 77: REFUSED}.get(done.returncode, done.returncode) == row.curl


@pytest.mark.skipif(NODE is None, reason="needs Node")
def test_node(row: Row, bundle: str, host: MediaHost, tmp_path: Path):
    file = tmp_path / "ca.pem"
    file.write_text(bundle, newline="")
    done = subprocess.run(
        [str(NODE), "-e", NODE_PROGRAM, str(host.port), str(file)],
        capture_output=True,
        text=True,
        timeout=60,
        check=False,
    )
    said = {"HTTP 200": OK, "DEPTH_ZERO_SELF_SIGNED_CERT": UNTRUSTED}
    assert said.get(done.stdout.strip(), done.stdout + done.stderr) == row.node
