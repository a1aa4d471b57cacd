"""Files of one Hugging Face repository into one folder, resumable; a program of its own, so that it can be bounded.

`python -m gpu_handler.hub_client REPOSITORY REVISION FOLDER PATTERN...` prints the commit that it took. What an earlier,
interrupted run left in FOLDER is continued. `HF_HOME`, `HF_TOKEN`, `HF_ENDPOINT` and the library's other variables apply.
"""

from __future__ import annotations

import os
import signal
import sys
from collections.abc import Sequence
from pathlib import Path

from gpu_handler.model_packages import run
from gpu_handler.model_registry import HubSource
from livedub.parent_death import die_with_parent

_SECONDS_PER_MEGABYTE = 2.0
_SHORTEST_LIMIT_S = 900.0
_LONGEST_LIMIT_S = 4 * 3_600.0
_READ_TIMEOUT_S = 30
_OWN_FOLDER = ".cache"
"""Where the library keeps what it needs to continue an interrupted download."""


def fetch_from_hub(source: HubSource, patterns: Sequence[str], folder: Path, *, size_bytes: int) -> str:
    """Bring the files that match `patterns` into `folder`; returns the commit they are of.

    Raises:
        MissingPrerequisiteError: the hub cannot be reached, lacks repository, revision or files, or was too slow.
    """
    folder.mkdir(parents=True, exist_ok=True)
    limit_s = min(max(_SHORTEST_LIMIT_S, size_bytes / 1e6 * _SECONDS_PER_MEGABYTE), _LONGEST_LIMIT_S)
    root = Path(__file__).resolve().parents[1]
    inherited = os.environ.get("PYTHONPATH", "")
    environment = {
        **os.environ,
        "PYTHONPATH": os.pathsep.join([str(root), *sys.path, inherited]),
        "HF_HUB_DISABLE_TELEMETRY": "1",
        "HF_HUB_DISABLE_PROGRESS_BARS": "1",
        "HF_HUB_DOWNLOAD_TIMEOUT": str(_READ_TIMEOUT_S),
    }
    command = [
        sys.executable,
        "-m",
        "gpu_handler.hub_client",
        source.repository,
        source.revision,
        str(folder),
    ]
    printed = run(
        [*command, *patterns],
        what=f"{source.repository} at {source.revision}",
        timeout_s=limit_s,
        environment=environment,
    )
    return printed.strip().splitlines()[-1]


def downloaded_files(folder: Path) -> list[Path]:
    """The files that a fetch brought, without the library's own."""
    found = (path for path in folder.rglob("*") if path.is_file())
    return sorted(path for path in found if _OWN_FOLDER not in path.relative_to(folder).parts)


def main(arguments: Sequence[str]) -> int:
    """Download; a failure is one line on stderr and exit code 1."""
    repository, revision, folder, *patterns = arguments
    signal.signal(signal.SIGTERM, signal.SIG_DFL)
    die_with_parent(signal.SIGTERM)
    from huggingface_hub import HfApi, snapshot_download  # noqa: PLC0415 - reads its variables when imported

    try:
        commit = HfApi().repo_info(repository, revision=revision, timeout=_READ_TIMEOUT_S).sha
        snapshot_download(
            repository,
            revision=commit,
            local_dir=folder,
            allow_patterns=patterns,
            etag_timeout=_READ_TIMEOUT_S,
        )
    except Exception as error:  # noqa: BLE001 - each version of the library raises its HTTP client's own
        reason = " ".join(str(error).split()) or type(error).__name__
        sys.stderr.write(f"{type(error).__name__}: {reason[:400]}\n")
        return 1
    sys.stdout.write(f"{commit}\n")
    return 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
