"""Looks at the cache as a consumer does: its variables, its TLS stack, `openssl s_client` and `curl` beside it."""

from __future__ import annotations

import base64
import hashlib
import http.client
import json
import os
import secrets
import shutil
import ssl
import subprocess
import tempfile
from collections.abc import Callable, Mapping
from contextlib import suppress
from dataclasses import dataclass, replace
from datetime import datetime, timezone
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit

from cryptography import x509

from livedub.errors import ConfigurationError
from livedub.media_cache.consumer_check import Fault, Seen, Verdict, judge
from livedub.media_cache.errors import CaBundleError
from livedub.media_cache.key import Variant, object_path
from livedub.media_cache.tls_bundle import CaBundle, TlsMode, parse_ca_bundle, ssl_context
from livedub.media_cache.tls_diag import tls_diag

BASE_URL = "TTS_MEDIA_CACHE_BASE_URL"
UPLOAD_TOKEN = "TTS_MEDIA_CACHE_UPLOAD_TOKEN"  # noqa: S105 - the variable's name
CA_BUNDLE = "TTS_MEDIA_CACHE_CA_BUNDLE"
_TIMEOUT_S = 10.0
_HTTPS_PORT = 443

Say = Callable[[str], None]


@dataclass(frozen=True, slots=True)
class Consumer:
    """What a consumer was started with; the token is in no representation."""

    base_url: str
    bundle: str
    token: str

    def __repr__(self) -> str:
        return f"Consumer({self.base_url})"

    @classmethod
    def of(cls, variables: Mapping[str, str]) -> Consumer:
        """From an environment."""
        return cls(
            variables.get(BASE_URL, "").strip(),
            variables.get(CA_BUNDLE, ""),
            variables.get(UPLOAD_TOKEN, "").strip(),
        )

    @classmethod
    def in_container(cls, container: str) -> Consumer:
        """From a running container's own environment.

        Raises:
            ConfigurationError: docker is not there, or does not let us in.
        """
        try:
            done = subprocess.run(
                ["docker", "exec", container, "env", "-0"],
                capture_output=True,
                timeout=_TIMEOUT_S,
                check=False,
                text=True,
            )
        except (OSError, subprocess.TimeoutExpired) as error:
            raise ConfigurationError(
                f"docker does not answer: {error}.", remedy="Run this on the host."
            ) from error
        if done.returncode:
            raise ConfigurationError(
                f"docker exec {container} failed: {done.stderr.strip()[:300]}.",
                remedy="See docker ps for its name.",
            )
        pairs = (entry.partition("=") for entry in done.stdout.split("\0") if entry)
        return cls.of({name: value for name, _, value in pairs})


def check(consumer: Consumer, say: Say) -> Verdict:
    """Look at every host of the consumer; the first fault, or that there is none. `say` gets what is seen."""
    say(tls_diag(consumer.bundle).line())
    addresses = [part.strip() for part in consumer.base_url.split(",") if part.strip()]
    if not addresses:
        return Verdict(Fault.NOT_CONFIGURED, f"{BASE_URL} is not set, so the consumer uses no cache")
    verdicts = [judge(look(address, consumer, say)) for address in addresses]
    return next((verdict for verdict in verdicts if verdict.fault is not Fault.NONE), verdicts[0])


def look(address: str, consumer: Consumer, say: Say) -> Seen:
    """What is found at one host."""
    seen, bundle = _bundle_seen(address, consumer.bundle)
    if seen.bundle_error:
        return seen
    parts = urlsplit(address)
    if parts.scheme != "https" or not parts.hostname:
        return replace(seen, connect_error=f"{address} is no https:// address")
    host, port = parts.hostname, parts.port or _HTTPS_PORT
    seen = _served(seen, host, port, say)
    if seen.connect_error:
        return seen
    _other_stacks(host, port, bundle, say)
    return _asked(seen, host, port, bundle, consumer.token)


def _bundle_seen(address: str, text: str) -> tuple[Seen, CaBundle | None]:
    if not text.strip():
        return Seen(address, bundle_set=False), None
    try:
        bundle = parse_ca_bundle(text)
    except CaBundleError as error:
        return Seen(address, bundle_error=error.message), None
    return Seen(address, bundle_needs_rewrap=not _readable_as_it_is(text, bundle)), bundle


def _readable_as_it_is(text: str, bundle: CaBundle) -> bool:
    """Whether OpenSSL finds all of it without our putting line breaks back."""
    pem = (
        text if bundle.mode is TlsMode.BUNDLE_PEM else base64.b64decode("".join(text.split())).decode("ascii")
    )
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)
    try:
        context.load_verify_locations(cadata=pem)
    except ssl.SSLError:
        return False
    return context.cert_store_stats()["x509"] == len(set(bundle.fingerprints))


def _served(seen: Seen, host: str, port: int, say: Say) -> Seen:
    """The certificate as it is, believed or not."""
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)
    context.check_hostname, context.verify_mode = False, ssl.CERT_NONE
    connection = http.client.HTTPSConnection(host, port, timeout=_TIMEOUT_S, context=context)
    try:
        connection.connect()
        der: bytes = connection.sock.getpeercert(binary_form=True) or b""
    except OSError as error:
        return replace(seen, connect_error=f"no TLS with {host} port {port}: {error}")
    finally:
        connection.close()
    leaf = x509.load_der_x509_certificate(der)
    names: list[str] = []
    with suppress(x509.ExtensionNotFound):
        names = [
            str(name.value)
            for name in leaf.extensions.get_extension_for_class(x509.SubjectAlternativeName).value
        ]
    say(
        f"served: sha256 {hashlib.sha256(der).hexdigest()}, for {', '.join(names) or 'no name'}, "
        f"until {leaf.not_valid_after_utc.isoformat()}"
    )
    return replace(seen, expired=leaf.not_valid_after_utc <= datetime.now(timezone.utc))


def _asked(seen: Seen, host: str, port: int, bundle: CaBundle | None, token: str) -> Seen:
    """What the host answers to a consumer that believes only its bundle."""
    connection = http.client.HTTPSConnection(host, port, timeout=_TIMEOUT_S, context=ssl_context(bundle))
    nobodys = object_path(secrets.token_hex(32), Variant.PCM)
    try:
        health, _ = _exchange(connection, "GET", "/health")
        ready, body = _exchange(connection, "GET", "/ready")
        deleted = (
            _exchange(connection, "DELETE", nobodys, {"Authorization": f"Bearer {token}"})[0] if token else 0
        )
    except ssl.SSLCertVerificationError as error:
        return replace(seen, verify_code=error.verify_code, verify_message=error.verify_message)
    except (OSError, http.client.HTTPException) as error:
        return replace(seen, connect_error=f"{host} port {port} breaks off: {error or type(error).__name__}")
    finally:
        connection.close()
    return replace(seen, health=health, delete=deleted, not_ready=_reasons(body) if ready == 503 else ())


def _exchange(
    connection: http.client.HTTPSConnection, method: str, path: str, headers: Mapping[str, str] | None = None
) -> tuple[int, bytes]:
    connection.request(method, path, headers=dict(headers or {}))
    answer = connection.getresponse()
    return answer.status, answer.read(64 * 1024)


def _reasons(body: bytes) -> tuple[str, ...]:
    held: Any = None
    with suppress(ValueError):
        held = json.loads(body)
    reasons: Any = held.get("reasons") if isinstance(held, dict) else None  # pyright: ignore[reportUnknownMemberType, reportUnknownVariableType]
    if not isinstance(reasons, list) or not reasons:
        return ("the host says that it is not ready",)
    return tuple(str(reason) for reason in reasons)  # pyright: ignore[reportUnknownVariableType, reportUnknownArgumentType]


def _other_stacks(host: str, port: int, bundle: CaBundle | None, say: Say) -> None:
    """What openssl and curl say, for whoever reads the report; the verdict does not rest on them."""
    at = f"[{host}]" if ":" in host else host
    with tempfile.TemporaryDirectory(prefix="livedub-check-") as folder:
        file = Path(folder) / "ca.pem"
        if bundle is not None:
            file.write_text(bundle.pem)
        trusted = [str(file)] if bundle is not None else []
        openssl = ["openssl", "s_client", "-connect", f"{at}:{port}"]
        said = _run([*openssl, *(["-CAfile", *trusted] if trusted else [])])
        wanted = next(
            (line.strip() for line in said.splitlines() if "Verify return code" in line), said[-200:]
        )
        say(f"openssl s_client: {wanted}")
        curl = ["curl", "-sS", "-o", os.devnull, "-w", "HTTP %{http_code}", "--max-time", str(_TIMEOUT_S)]
        said = _run([*curl, *(["--cacert", *trusted] if trusted else []), f"https://{at}:{port}/health"])
        say(f"curl: {' '.join(said.split())[:300]}")


def _run(command: list[str]) -> str:
    program = shutil.which(command[0])
    if program is None:
        return f"{command[0]} is not installed"
    try:
        done = subprocess.run(
            [program, *command[1:]],
            stdin=subprocess.DEVNULL,
            capture_output=True,
            timeout=_TIMEOUT_S + 5,
            check=False,
        )
    except subprocess.TimeoutExpired:
        return f"{command[0]} did not end"
    return (done.stdout + done.stderr).decode(errors="replace")
