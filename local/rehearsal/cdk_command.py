"""The cdk command against a local AWS: bootstrap, and a deployment of every stack."""

from __future__ import annotations

import json
import os
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from pathlib import Path

from livedub.errors import MissingPrerequisiteError
from livedub.file_lock import exclusive
from local.aws.assembly import ENVIRONMENT, ROOT, AssemblyError
from local.aws.child import client_environment
from local.aws.deployment import REGION
from local.aws.overlay.skipped_types import SKIPPED
from local.processes import ProcessSpec, Supervisor
from local.steps import run_step

ACCOUNT = "123456789012"
ASSEMBLY = ROOT / "build" / "cdk.out" / "rehearsal"
"""Stays, for its packed assets are the next deployment's, too."""

Say = Callable[[str], None]
Outputs = Mapping[str, Mapping[str, str]]
"""By stack and name."""

_CDK = ROOT / "infra" / "node_modules" / ".bin" / "cdk"
_TIMEOUT_S = 300.0
_STOP_S = 10.0
_LOCK_PATIENCE_S = 600.0


@contextmanager
def own_assembly() -> Iterator[Path]:
    """The folder of the rehearsal's assembly, which one rehearsal at a time has.

    Raises:
        AssemblyError: another one holds it for too long.
    """
    ASSEMBLY.parent.mkdir(parents=True, exist_ok=True)
    lock = ASSEMBLY.with_name(f".{ASSEMBLY.name}.lock")
    busy = AssemblyError(
        f"{lock} is held by another rehearsal for over {_LOCK_PATIENCE_S:.0f} s.",
        remedy="Wait for it, or end it (fuser shows it).",
    )
    with exclusive(lock, patience_s=_LOCK_PATIENCE_S, refusal=busy, mode=0o644):
        yield ASSEMBLY


async def build(supervisor: Supervisor, say: Say) -> None:
    """Build what is deployed where it has changed; needs a package registry then, and only then.

    Raises:
        ProcessError: it failed; what was said is printed.
    """
    environment = {"PATH": f"{ROOT / '.venv' / 'bin'}:{os.environ.get('PATH', os.defpath)}"}
    await _run(supervisor, "build", [str(ROOT / "setup" / "build.sh")], environment, say)


async def synthesize(supervisor: Supervisor, assembly: Path, context: Mapping[str, str], say: Say) -> None:
    """Synthesize every stack of the environment `local` into `assembly`; `context` is what -c would give.

    Raises:
        ProcessError: it failed; what was said is printed.
    """
    python = ROOT / ".venv" / "bin" / "python"
    environment = {
        # How the cdk command tells an app its context and where to write.
        "CDK_CONTEXT_JSON": json.dumps({"environment": ENVIRONMENT, **context}),
        "CDK_OUTDIR": str(assembly),
        "PYTHONPATH": os.pathsep.join([str(ROOT), str(ROOT / "layers" / "core" / "python")]),
        "PYTHONSAFEPATH": "1",
        **_NODE,
    }
    await _run(supervisor, "synthesis", [str(python), "-m", "infra.app"], environment, say)


async def bootstrap(supervisor: Supervisor, endpoint: str, scratch: Path) -> None:
    """Prepare account and region for deployments.

    Raises:
        MissingPrerequisiteError: the command is not installed.
        ProcessError: it failed; carries its last lines.
    """
    place = f"aws://{ACCOUNT}/{REGION}"
    # Outside of the checkout: it asks no app then.
    await _cdk(supervisor, "bootstrap", [place], endpoint, scratch, cwd=scratch)


async def deploy_all(
    supervisor: Supervisor, endpoint: str, scratch: Path, assembly: Path, say: Say
) -> Outputs:
    """Deploy every stack; returns the outputs as the command reports them.

    Raises:
        ProcessError: a deployment failed; carries its last lines.
    """
    outputs = scratch / "outputs.json"
    arguments = ["--all", "--require-approval", "never", "--progress", "events"]
    # One stack after the other: moto knows a change set by its name alone, and the command calls all of them the same.
    arguments += ["--outputs-file", str(outputs)]
    arguments += ["--app", str(assembly)]
    await _cdk(supervisor, "deploy", arguments, endpoint, scratch, cwd=ROOT, say=say)
    return json.loads(outputs.read_text(encoding="utf-8"))


def skipped(assembly: Path) -> list[str]:
    """One line per type of the templates that does nothing on the local AWS: how many, why, what covers it."""
    counts: dict[str, int] = {}
    for template in sorted(assembly.glob("*.template.json")):
        for resource in json.loads(template.read_text(encoding="utf-8"))["Resources"].values():
            if resource["Type"] in SKIPPED:
                counts[resource["Type"]] = counts.get(resource["Type"], 0) + 1
    return [
        f"{kind} ({count}): {SKIPPED[kind].why}; instead: {SKIPPED[kind].covered_by}"
        for kind, count in sorted(counts.items())
    ]


_NODE = {
    "PATH": f"{ROOT / '.venv' / 'bin'}:/usr/local/bin:/usr/bin:/bin",  # the node that make setup installed
    "JSII_SILENCE_WARNING_END_OF_LIFE_NODE_VERSION": "1",
}


async def _cdk(
    supervisor: Supervisor,
    command: str,
    arguments: Sequence[str],
    endpoint: str,
    scratch: Path,
    *,
    cwd: Path,
    say: Say | None = None,
) -> None:
    if not _CDK.is_file():
        raise MissingPrerequisiteError(f"{_CDK} is missing.", remedy="Run make setup.")
    environment = {
        **client_environment(endpoint),
        **_NODE,
        "CDK_HOME": str(scratch / "cdk"),  # what it remembers of accounts must not outlive this one
        "CDK_DISABLE_VERSION_CHECK": "1",
        "CDK_DISABLE_CLI_TELEMETRY": "true",
    }
    argv = [str(_CDK), command, *arguments, "--no-notices", "--ci"]
    await _run(supervisor, f"cdk-{command}", argv, environment, say, cwd=cwd)


async def _run(
    supervisor: Supervisor,
    name: str,
    argv: Sequence[str],
    environment: Mapping[str, str],
    say: Say | None,
    *,
    cwd: Path = ROOT,
) -> None:
    spec = ProcessSpec(name, argv, env=environment, cwd=cwd, stop_timeout_s=_STOP_S)
    await run_step(supervisor, spec, _TIMEOUT_S, say=say)
