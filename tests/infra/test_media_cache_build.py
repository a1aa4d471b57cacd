"""What make build makes for the media cache: the same lock, the same bytes, and enough to run."""

import hashlib
import json
import stat
import subprocess
import sys
from pathlib import Path

import pytest

from tests.infra.conftest import ROOT
from tests.infra.offline_build import build_offline

pytestmark = pytest.mark.slow


def listing(folder: Path) -> list[tuple[str, int, int, str]]:
    return [
        (
            str(path.relative_to(folder)),
            stat.S_IMODE(path.stat().st_mode),
            int(path.stat().st_mtime),
            hashlib.sha256(path.read_bytes()).hexdigest() if path.is_file() else "",
        )
        for path in sorted(folder.rglob("*"))
    ]


def loads(paths: list[Path], modules: list[str]) -> None:
    """From `paths` alone: neither this checkout nor what the virtual environment holds."""
    code = (
        "import importlib, json, sys; sys.dont_write_bytecode = True\n"
        "paths, modules = map(json.loads, sys.argv[1:])\n"
        "sys.path[:0] = paths\n"
        "for each in modules: importlib.import_module(each)"
    )
    done = subprocess.run(
        [
            sys.executable,
            "-I",
            "-S",
            "-c",
            code,
            json.dumps([str(path) for path in paths]),
            json.dumps(modules),
        ],
        capture_output=True,
        text=True,
        timeout=100,
        check=False,
        env={"LAMBDA_TASK_ROOT": "/var/task"},
    )
    assert done.returncode == 0, done.stderr


def test_a_host_gets_the_same_bytes_twice_and_can_run_on_them(tmp_path: Path):
    first, second = tmp_path / "one", tmp_path / "other-name"
    for target in (first, second):
        build_offline("build_host_packages.sh", target, "locks/media-cache.txt", "caddy")
    assert listing(first) == listing(second)
    assert {path.name for path in (first / "bin").iterdir()} == {"caddy"}
    caddy = subprocess.run(
        [first / "bin/caddy", "version"], capture_output=True, text=True, timeout=60, check=True
    )
    assert caddy.stdout.startswith("v2.11")
    # Linked files would be those of uv's cache and of every environment made from it.
    assert {path.stat().st_nlink for path in first.rglob("*") if path.is_file()} == {1}
    archived = tmp_path / "media_edge" / "cache"
    archived.parent.mkdir()
    archived.symlink_to(ROOT / "media_edge" / "cache")
    loads(
        [tmp_path, first, ROOT / "layers/core/python"],
        [
            "media_edge.cache.upload_service",
            "livedub.cli.media_tls",
            "livedub.cli.media_host_env",
            "livedub.media_cache.rotation",
            "livedub.media_cache.cleanup_run",
            "boto3",
        ],
    )


def test_the_clean_up_function_can_run_on_its_layer(tmp_path: Path):
    layer = tmp_path / "layer"
    build_offline("build_layer.sh", layer, "locks/media-cache-functions.txt")
    loads(
        [ROOT / "functions/media_cache_cleanup", layer / "python", ROOT / "layers/core/python"],
        ["handler", "livedub.media_cache.cleanup_run", "psycopg", "psycopg_binary"],
    )
