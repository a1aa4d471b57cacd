"""New certificates under load: `python tests/bench/bench_media_rotation.py [--rotations N] [--out FILE]` prints JSON.

A consumer with our client library makes 20,000 requests or more. Meanwhile `livedub media rotate --wait` runs again and
again against a local AWS, where chain and key are written one after the other, in either order by turns. A watcher
opens connections all the time and notes whose certificate it gets: never half a pair, never the new one before both
variables are there, never the old one after the new.
"""

from __future__ import annotations

import base64
import json
import logging
import os
import ssl
import subprocess
import sys
import tempfile
import threading
import time
from collections import Counter
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import boto3
from moto.secretsmanager.models import SecretsManagerBackend
from moto.server import ThreadedMotoServer

from livedub.media_cache.private_ca import PrivateCa
from livedub.media_cache.tls_material import TlsMaterial, fingerprint, write_material
from tests.bench.media_bench_rig import ROOT, Child, allow_many_files, favour, printed
from tests.integration.media_cache.media_rig import TOKEN, MediaHost, wait_until

REQUESTS = 20_000
NAMESPACE = "bench"
CHAIN = f"/{NAMESPACE}/media/MEDIA_TLS_FULLCHAIN_B64"
SECRET = f"{NAMESPACE}/media/secrets"
ROTATION_S = 120.0


class Watcher(threading.Thread):
    """Opens one connection after the other and notes what it was shown."""

    def __init__(self, host: MediaHost, context: ssl.SSLContext) -> None:
        super().__init__(daemon=True)
        self._host, self._context, self._stop_asked = host, context, threading.Event()
        self.shown: list[str] = []
        self.first_seen_s: dict[str, float] = {}
        self.handshakes = 0
        self.cut = 0
        self.untrusted: Counter[str] = Counter()

    def run(self) -> None:
        while not self._stop_asked.wait(0.004):
            try:
                with self._host.connect_trusting(self._context) as connection:
                    certificate = connection.getpeercert(binary_form=True)
            except (ConnectionError, ssl.SSLEOFError):
                # A reload closes what its old listener has just accepted.
                self.cut += 1
                continue
            except ssl.SSLError as error:
                self.untrusted[str(error.reason)] += 1
                continue
            self._note(certificate or b"")

    def _note(self, certificate: bytes) -> None:
        self.handshakes += 1
        shown = fingerprint(ssl.DER_cert_to_PEM_cert(certificate).encode())
        if not self.shown or self.shown[-1] != shown:
            self.shown.append(shown)
            self.first_seen_s.setdefault(shown, time.monotonic())

    def stop(self) -> None:
        self._stop_asked.set()
        self.join(60)


class Variables:
    """SSM and Secrets Manager of a local AWS, and how often the secret was read."""

    def __init__(self, endpoint: str) -> None:
        keys = {"aws_access_key_id": "test", "aws_secret_access_key": "test"}
        self._ssm: Any = boto3.client("ssm", region_name="eu-west-1", endpoint_url=endpoint, **keys)
        self._secrets: Any = boto3.client(
            "secretsmanager", region_name="eu-west-1", endpoint_url=endpoint, **keys
        )
        self._secrets.create_secret(Name=SECRET, SecretString="{}")
        self.env = {
            "AWS_ENDPOINT_URL": endpoint,
            "AWS_ACCESS_KEY_ID": "test",
            "AWS_SECRET_ACCESS_KEY": "test",
            "AWS_DEFAULT_REGION": "eu-west-1",
            "MEDIA_SETTINGS_SOURCE": "aws",
            "NAMESPACE": NAMESPACE,
        }
        self.reads = 0

    def set_chain(self, material: TlsMaterial) -> None:
        value = base64.b64encode(material.fullchain_pem).decode()
        self._ssm.put_parameter(Name=CHAIN, Value=value, Type="String", Overwrite=True)

    def set_key(self, material: TlsMaterial) -> None:
        held = {
            "MEDIA_TLS_PRIVKEY_B64": base64.b64encode(material.privkey_pem).decode(),
            "MEDIA_UPLOAD_TOKEN": TOKEN,
        }
        self._secrets.put_secret_value(SecretId=SECRET, SecretString=json.dumps(held))


@contextmanager
def local_aws() -> Iterator[Variables]:
    """A local AWS of this process."""
    logging.getLogger("werkzeug").setLevel(logging.ERROR)
    server = ThreadedMotoServer(ip_address="127.0.0.1", port=0, verbose=False)
    server.start()
    original = SecretsManagerBackend.get_secret_value
    try:
        host, port = server.get_host_and_port()
        variables = Variables(f"http://{host}:{port}")

        def counted(*arguments: Any, **options: Any) -> Any:
            variables.reads += 1
            return original(*arguments, **options)

        SecretsManagerBackend.get_secret_value = counted
        yield variables
    finally:
        SecretsManagerBackend.get_secret_value = original
        server.stop()


def rotate(host: MediaHost, variables: Variables, new: TlsMaterial, *, key_first: bool) -> float:
    """Rotate by the command; when both variables were there, on the clock of `time.monotonic`."""
    kept = {
        name: value for name, value in os.environ.items() if not name.startswith(("MEDIA_", "AWS_", "TTS_"))
    }
    environment = {
        **kept,
        **variables.env,
        "PYTHONPATH": os.pathsep.join([str(ROOT), str(ROOT / "layers/core/python")]),
        "MEDIA_TLS_CERT_HOST_PATH": str(host.tls_path),
        "MEDIA_CADDY_ADMIN_SOCKET": str(host.run_dir / "admin.sock"),
        "MEDIA_HTTPS_ADDRESS": f"127.0.0.1:{host.port}",
    }
    before = variables.reads
    command = [sys.executable, "-m", "livedub.cli.main", "media", "rotate", "--wait", "60"]
    with subprocess.Popen(
        command, env=environment, stdout=subprocess.DEVNULL, stderr=subprocess.PIPE
    ) as rotation:
        try:
            # Once to start with, then every time it looks whether the new pair is there.
            wait_until(lambda: variables.reads >= before + 2, "the command waits for variables", ROTATION_S)
            steps = [variables.set_key, variables.set_chain]
            first, second = steps if key_first else reversed(steps)
            first(new)
            seen = variables.reads
            # It has seen one of the two alone.
            wait_until(lambda: variables.reads >= seen + 2, "the command looks again", ROTATION_S)
            second(new)
            both_s = time.monotonic()
            _, errors = rotation.communicate(timeout=ROTATION_S)
        except BaseException:
            rotation.kill()
            raise
    if rotation.returncode:
        raise RuntimeError(errors.decode())
    return both_s


def measure(rotations: int = 6) -> dict[str, Any]:
    """A consumer, a watcher and so many rotations."""
    allow_many_files()
    authority = PrivateCa.create()
    pairs = [authority.issue_leaf(["127.0.0.1"], ["localhost"]) for _ in range(rotations + 1)]
    with tempfile.TemporaryDirectory() as name, local_aws() as variables:
        folder = Path(name)
        write_material(folder / "host" / "tls", pairs[0])
        variables.set_key(pairs[0])
        variables.set_chain(pairs[0])
        with MediaHost(folder) as host:
            favour(host.pid)
            watcher = Watcher(host, host.context())
            command = [sys.executable, "-m", "tests.bench.media_rotation_consumer", f"--least={REQUESTS}"]
            paths = os.pathsep.join([str(ROOT), str(ROOT / "layers/core/python")])
            with Child(command, env={**host.variables, "PYTHONPATH": paths}) as consumer:
                watcher.start()
                try:
                    both_s = under_load(host, variables, pairs[1:], consumer)
                    consumer.close_stdin()
                    report = last_line(consumer)
                finally:
                    watcher.stop()
    wanted = [fingerprint(pair.fullchain_pem) for pair in pairs]
    late_s = [
        watcher.first_seen_s.get(sha, float("inf")) - both
        for sha, both in zip(wanted[1:], both_s, strict=True)
    ]
    return {
        "what": f"{rotations} rotations under a consumer's requests, variables written in either order",
        "requests": report["requests"],
        "failed": report["failed"],
        "served_after_ms": [round(late * 1_000) for late in late_s],
        "shown_in_order": watcher.shown == wanted,
        "untrusted_handshakes": dict(watcher.untrusted),
        "handshakes": watcher.handshakes,
        "handshakes_cut_by_a_reload": watcher.cut,
        "consumer": report,
    }


def under_load(
    host: MediaHost, variables: Variables, pairs: list[TlsMaterial], consumer: Child
) -> list[float]:
    """Rotate while the consumer gets on; when both variables were there, of each."""
    both_s: list[float] = []
    for number, new in enumerate(pairs):
        # Some requests before the first, and at least so many between two.
        progress(consumer, (number + 1) * 500)
        both_s.append(rotate(host, variables, new, key_first=number % 2 == 0))
    return both_s


def progress(consumer: Child, least: int) -> None:
    while (said := consumer.line()) == "ready" or int(said) < least:
        pass


def last_line(consumer: Child) -> dict[str, Any]:
    while (said := consumer.line()).isdigit():
        pass
    return json.loads(said)


if __name__ == "__main__":
    printed(measure, __doc__, rotations=(int, 6, "rotations"))
