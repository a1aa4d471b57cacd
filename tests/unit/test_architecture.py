"""Rules about the code as a whole that no linter checks."""

import ast
import re
import subprocess
import sys
import zipfile
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parents[2]
SHARED = [ROOT / "layers/core/python/livedub", ROOT / "gpu_handler"]
PRODUCT = [*SHARED, *(ROOT / name for name in ("functions", "infra", "media_edge", "local"))]

NETWORK_LIBRARIES = {"boto3", "botocore", "httpx", "psycopg", "psycopg_pool"}
LOCAL_AWS = ROOT / "local" / "aws"
"""Is AWS on one machine, so it speaks its libraries everywhere."""


def sources(folders: list[Path]) -> list[Path]:
    found = [path for folder in folders for path in sorted(folder.rglob("*.py"))]
    return [path for path in found if "node_modules" not in path.parts]


def names(path: Path) -> str:
    return str(path.relative_to(ROOT))


@pytest.mark.parametrize("path", sources(SHARED), ids=names)
def test_shared_code_keeps_to_python_3_10_grammar(path: Path):
    ast.parse(path.read_text(), feature_version=(3, 10))


@pytest.mark.parametrize("path", sources(PRODUCT), ids=names)
def test_nothing_reads_the_environment_at_import(path: Path):
    tree = ast.parse(path.read_text())
    pending: list[ast.AST] = list(tree.body)
    while pending:
        node = pending.pop()
        if isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef | ast.Lambda):
            continue
        assert not (isinstance(node, ast.Attribute) and node.attr in {"environ", "getenv"}), ast.unparse(node)
        pending += ast.iter_child_nodes(node)


@pytest.mark.parametrize("path", sources(PRODUCT), ids=names)
def test_no_module_has_a_name_that_says_nothing(path: Path):
    assert not {"utils", "common", "helpers", "core", "misc"} & set(
        path.relative_to(ROOT).with_suffix("").parts[-2:]
    )


def imported(path: Path) -> set[str]:
    """Names of the packages a file imports, wherever in it."""
    found: set[str] = set()
    for node in ast.walk(ast.parse(path.read_text())):
        if isinstance(node, ast.Import):
            found |= {alias.name.partition(".")[0] for alias in node.names}
        elif isinstance(node, ast.ImportFrom) and node.module and not node.level:
            found.add(node.module.partition(".")[0])
    return found


@pytest.mark.parametrize("path", sources(PRODUCT), ids=names)
def test_network_libraries_only_where_the_file_name_says_so(path: Path):
    # import-linter's patterns cannot say *_store and *_client.
    named = path.stem == "storage" or path.stem.endswith(("_store", "_client"))
    if not named and not path.is_relative_to(LOCAL_AWS):
        assert not imported(path) & NETWORK_LIBRARIES


def test_an_import_is_seen_wherever_it_stands(tmp_path: Path):
    file = tmp_path / "lease.py"
    file.write_text("import boto3.session\ndef call():\n    from httpx import get\n")
    assert imported(file) == {"boto3", "httpx"}


def test_help_is_quick_because_heavy_imports_wait():
    code = (
        "import sys, livedub.cli.main\n"
        "heavy = {'numpy', 'av', 'httpx', 'scipy', 'onnxruntime', 'boto3', 'psycopg'} & set(sys.modules)\n"
        "sys.exit(f'imported {heavy}' if heavy else 0)"
    )
    subprocess.run([sys.executable, "-c", code], check=True, timeout=30, cwd=ROOT)


def test_the_wheel_ships_three_packages_and_nothing_else(tmp_path: Path):
    command = [sys.executable, "-m", "hatchling", "build", "-t", "wheel", "-d", str(tmp_path)]
    subprocess.run(command, check=True, timeout=60, cwd=ROOT, capture_output=True)
    with zipfile.ZipFile(next(tmp_path.glob("*.whl"))) as wheel:
        top = {name.split("/", 1)[0] for name in wheel.namelist()}
    assert {name for name in top if not name.endswith(".dist-info")} == {
        "livedub",
        "gpu_handler",
        "media_edge",
    }


def test_locks_hold_versions_and_hashes_and_no_addresses():
    for lock in (ROOT / "locks").glob("*.txt"):
        text = lock.read_text()
        assert not re.search(r"https?://|--find-links|--index-url", text), lock
        for requirement in re.findall(r"^[a-zA-Z0-9_.-]+==.*(?:\n .*)*", text, flags=re.MULTILINE):
            assert "--hash=sha256:" in requirement, f"{lock}: {requirement.splitlines()[0]}"


def test_debian_packages_are_listed_once_per_runtime():
    for path in (ROOT / "setup/debian").glob("*.txt"):
        packages = [line for line in path.read_text().splitlines() if line and not line.startswith("#")]
        assert packages == sorted(set(packages)), f"{path}: sorted, no duplicates"
