"""rotate_tls on the local AWS as it is deployed: its functions, machine and rules, a real host with its agent, consumers."""

from __future__ import annotations

import base64
import io
import json
import os
import re
import subprocess
import sys
import threading
import zipfile
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path

from livedub.media_cache.blocking_client import MediaCacheClient
from livedub.media_cache.caddy_admin_client import served_fingerprint
from livedub.media_cache.errors import MediaCacheError
from livedub.media_cache.key import Variant
from livedub.media_cache.tls_bundle import parse_ca_bundle
from livedub.media_cache.tls_material import TlsMaterial, fingerprint, write_material
from livedub.media_cache.wire import AudioVariant, CacheMetadata
from tests.integration.local_aws.rig import REGION, ROOT, Aws, eventually, name

from .media_rig import TOKEN, MediaHost

DEFINITION = ROOT / "infra/statemachines/rotate_tls.asl.json"
NAMESPACE = "livedub/local"
PREFIX = f"/{NAMESPACE}"
CHAIN = f"{PREFIX}/media/MEDIA_TLS_FULLCHAIN_B64"
SECRET = f"{NAMESPACE}/media/secrets"
BUNDLES = tuple(f"{PREFIX}/{consumer}/TTS_MEDIA_CACHE_CA_BUNDLE" for consumer in ("voice", "api"))
INSTANCE = "i-0000000000media"
FUNCTIONS = {
    "StartTlsRotationArn": "start_tls_rotation",
    "CheckTlsArn": "check_tls",
    "PublishTlsBundleArn": "publish_tls_bundle",
    "SettleTlsStoresArn": "settle_tls_stores",
}
WAITS = {
    "MEDIA_TLS_ROTATION_POLL_S": "1",
    "MEDIA_TLS_ROTATION_PAIR_WAIT_S": "60",
    "MEDIA_TLS_ROTATION_SETTLE_S": "2",
    "MEDIA_TLS_ROTATION_DROP_AFTER_S": "1",
}
LOOK_S = 0.4
"""How often consumers read their bundle: well within the time that they are given."""


def b64(pem: bytes) -> str:
    return base64.b64encode(pem).decode()


def sha(material: TlsMaterial) -> str:
    return fingerprint(material.fullchain_pem)


class Consumer(threading.Thread):
    """Stores and reads without a pause, and reads its bundle again every so often, as hosts of workers do."""

    def __init__(self, rig: RotationRig) -> None:
        super().__init__(daemon=True)
        self._rig, self._stop_asked = rig, threading.Event()
        self.requests = 0
        self.failures: list[str] = []
        self.bundle = rig.bundle()
        self._clients: list[MediaCacheClient] = []
        self._client = self._connected(self.bundle)

    def run(self) -> None:
        watcher = threading.Thread(target=self._watch, daemon=True)
        watcher.start()
        metadata = CacheMetadata(
            sentence=f"who is {self.name}",
            voice="es/ef_dora",
            model="kokoro:kokoro-82m",
            variant=AudioVariant.of(Variant.ALAW, 800),
        )
        while not self._stop_asked.is_set():
            client = self._client
            try:
                client.put(metadata, b"\x55" * 800)
                assert client.exists(metadata.key, Variant.ALAW)
            except (MediaCacheError, AssertionError) as error:
                self.failures.append(repr(error))
            self.requests += 2
        watcher.join(30)

    def stop(self) -> None:
        self._stop_asked.set()
        self.join(60)
        for client in self._clients:
            client.close()

    def _watch(self) -> None:
        while not self._stop_asked.wait(LOOK_S):
            bundle = self._rig.bundle()
            if bundle != self.bundle:
                # The one before is left to whoever is in the middle of a request.
                self.bundle, self._client = bundle, self._connected(bundle)

    def _connected(self, bundle: str) -> MediaCacheClient:
        client = MediaCacheClient(
            [self._rig.host_url], token=TOKEN, tls=parse_ca_bundle(bundle), deadline_ms=20_000
        )
        self._clients.append(client)
        return client


@dataclass
class RotationRig:
    """What a test turns and looks at."""

    aws: Aws
    host: MediaHost
    machine: str = ""
    functions: dict[str, str] = field(default_factory=dict)

    @property
    def refusal(self) -> Path:
        """Holds how the host is to fail: fails, idles (nothing is done, which is no error), or fails-late."""
        return self.host.folder / "refusal"

    @contextmanager
    def refusing(self, how: str) -> Iterator[None]:
        self.refusal.write_text(how)
        try:
            yield
        finally:
            self.refusal.unlink()

    @property
    def host_url(self) -> str:
        return self.host.variables["TTS_MEDIA_CACHE_BASE_URL"]

    def bundle(self) -> str:
        return self.aws.parameters.get_parameter(Name=BUNDLES[0])["Parameter"]["Value"]

    def trusted(self) -> set[str]:
        values = [self.aws.parameters.get_parameter(Name=one)["Parameter"]["Value"] for one in BUNDLES]
        assert values[0] == values[1]
        return set(parse_ca_bundle(values[0]).fingerprints)

    def served(self) -> str:
        return served_fingerprint(f"127.0.0.1:{self.host.port}")

    def set_chain(self, material: TlsMaterial) -> None:
        value = b64(material.fullchain_pem)
        self.aws.parameters.put_parameter(Name=CHAIN, Value=value, Type="String", Overwrite=True)

    def set_key(self, key_pem: bytes) -> None:
        held = {"MEDIA_TLS_PRIVKEY_B64": b64(key_pem), "MEDIA_UPLOAD_TOKEN": TOKEN}
        self.aws.secrets.put_secret_value(SecretId=SECRET, SecretString=json.dumps(held))

    def stored(self) -> tuple[str, dict[str, str]]:
        """Chain and secret; no chain is empty."""
        found = self.aws.parameters.get_parameters(Names=[CHAIN])["Parameters"]
        held = self.aws.secrets.get_secret_value(SecretId=SECRET)["SecretString"]
        return (found[0]["Value"] if found else "", json.loads(held))

    def executions(self) -> dict[str, str]:
        """Status by name."""
        listed = self.aws.machines.list_executions(stateMachineArn=self.machine)["executions"]
        return {one["name"]: one["status"] for one in listed}

    def states(self, execution: str) -> list[str]:
        arn = f"{self.machine.replace(':stateMachine:', ':execution:')}:{execution}"
        pages = self.aws.machines.get_paginator("get_execution_history").paginate(executionArn=arn)
        return [
            event["stateEnteredEventDetails"]["name"]
            for page in pages
            for event in page["events"]
            if "stateEnteredEventDetails" in event
        ]

    def started(self, before: Mapping[str, str]) -> str:
        """The first execution that was not there."""
        return eventually(lambda: next(iter(set(self.executions()) - set(before)), ""), "an execution")

    def quiet(self) -> dict[str, str]:
        """All executions, once none runs."""
        return eventually(
            lambda: (found,) if "RUNNING" not in (found := self.executions()).values() else None,
            "the end of all executions",
            120,
        )[0]


@contextmanager
def rotation_rig(aws: Aws, folder: Path, first: TlsMaterial) -> Iterator[RotationRig]:
    """A host that serves `first`, consumers' bundles that trust it, and rotate_tls around them."""
    write_material(folder / "host" / "tls", first)
    aws.secrets.create_secret(
        Name=SECRET, SecretString=json.dumps({"MEDIA_TLS_PRIVKEY_B64": "", "MEDIA_UPLOAD_TOKEN": TOKEN})
    )
    for one in BUNDLES:
        aws.parameters.put_parameter(Name=one, Value=b64(first.ca_pem), Type="String")
    with MediaHost(folder) as host:
        rig = RotationRig(aws, host)
        with _agent(rig):
            _deploy(rig)
            yield rig


def _deploy(rig: RotationRig) -> None:
    layer = rig.aws.functions.publish_layer_version(LayerName=name("core"), Content={"ZipFile": _layer()})
    arn = f"arn:aws:states:{REGION}:123456789012:stateMachine:{name('rotate-tls')}"
    variables = {
        "NAMESPACE": NAMESPACE,
        "MEDIA_CONSUMER_PREFIX": PREFIX,
        "TTS_MEDIA_CACHE_BASE_URL": rig.host_url,
        "MEDIA_TLS_ROTATION_MACHINE_ARN": arn,
        "POWERTOOLS_TRACE_DISABLED": "true",
        **WAITS,
    }
    for placeholder, folder in FUNCTIONS.items():
        rig.functions[placeholder] = rig.aws.make_function(
            (ROOT / "functions" / folder / "handler.py").read_text(),
            Layers=[layer["LayerVersionArn"]],
            Environment={"Variables": variables},
            Timeout=60,
        )
    values = {**rig.functions, "HostDocument": "livedub-host-action", "InstanceId": INSTANCE}
    text = re.sub(r"\$\{(\w+)\}", lambda found: values[found[1]], DEFINITION.read_text())
    made = rig.aws.machines.create_state_machine(
        name=arn.rpartition(":")[2], definition=text, roleArn=rig.aws.role
    )
    rig.machine = made["stateMachineArn"]
    assert rig.machine == arn
    target = {"Arn": rig.functions["StartTlsRotationArn"]}
    for pattern in (
        {"source": ["aws.ssm"], "detail-type": ["Parameter Store Change"], "detail": {"name": [CHAIN]}},
        {
            "source": ["aws.secretsmanager"],
            "detail-type": ["AWS API Call via CloudTrail"],
            "detail": {"requestParameters": {"secretId": [SECRET]}},
        },
    ):
        rig.aws.rule_to(target, EventPattern=json.dumps(pattern))


def _layer() -> bytes:
    """The shared package; the interpreter has the rest."""
    buffer, core = io.BytesIO(), ROOT / "layers/core"
    with zipfile.ZipFile(buffer, "w") as archive:
        for path in sorted((core / "python").rglob("*.py")):
            archive.write(path, path.relative_to(core))
    return buffer.getvalue()


@contextmanager
def _agent(rig: RotationRig) -> Iterator[None]:
    """SSM's agent of the host, with the host's own variables."""
    # Where `refusal` says so the host fails, and not its agent.
    script = rig.host.folder / "act.sh"
    script.write_text(
        "set -eu\n"
        f'refusal=$(cat "{rig.refusal}" 2>/dev/null || true)\n'
        'case "$1.$refusal" in rotate.fails) exit 1 ;; rotate.idles) exit 0 ;; esac\n'
        'if [ "$1" = back ]; then set -- --back; else set --; fi\n'
        f'{sys.executable} -m livedub.cli.main media rotate "$@"\n'
        '[ $# -gt 0 ] || [ "$refusal" != fails-late ]\n'
    )
    command = f"sh {script}"
    clean = {
        key: value for key, value in os.environ.items() if not key.startswith(("MEDIA_", "TTS_", "AWS_"))
    }
    environment = {
        **clean,
        "PYTHONPATH": f"{ROOT}{os.pathsep}{ROOT / 'layers/core/python'}",
        "AWS_ENDPOINT_URL": rig.aws.endpoint,
        "AWS_ACCESS_KEY_ID": "test",
        "AWS_SECRET_ACCESS_KEY": "test",
        "AWS_DEFAULT_REGION": REGION,
        "MEDIA_SETTINGS_SOURCE": "aws",
        "NAMESPACE": NAMESPACE,
        "MEDIA_CONSUMER_PREFIX": PREFIX,
        "MEDIA_TLS_CERT_HOST_PATH": str(rig.host.tls_path),
        "MEDIA_CADDY_ADMIN_SOCKET": str(rig.host.run_dir / "admin.sock"),
        "MEDIA_HTTPS_ADDRESS": f"127.0.0.1:{rig.host.port}",
    }
    actions = (f"rotate-tls={command} rotate", f"restore-tls={command} back")
    with subprocess.Popen(
        [
            *("setpriv", "--pdeathsig", "KILL", "--", sys.executable, "-m", "local.aws.host_agent"),
            *("--endpoint", rig.aws.endpoint, "--instance-id", INSTANCE),
            *(f"--action={action}" for action in actions),
        ],
        env=environment,
        stderr=subprocess.DEVNULL,
    ) as agent:
        try:
            yield
        finally:
            agent.terminate()


@dataclass
class Load:
    """What consumers had, known when they have stopped."""

    requests: int = 0
    failures: list[str] = field(default_factory=list)


@contextmanager
def under_load(rig: RotationRig) -> Iterator[Load]:
    """Two consumers as long as the context lasts."""
    consumers, load = [Consumer(rig) for _ in range(2)], Load()
    for consumer in consumers:
        consumer.start()
    try:
        yield load
    finally:
        for consumer in consumers:
            consumer.stop()
        load.requests = sum(consumer.requests for consumer in consumers)
        load.failures = [failure for consumer in consumers for failure in consumer.failures]
