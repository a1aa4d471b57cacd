"""Where network libraries may be imported: by file name, which import-linter's patterns cannot say."""

import ast
from collections.abc import Iterator
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[2]
PACKAGES = ("layers/core/python/livedub", "functions", "gpu_handler", "infra", "media_edge", "local")
NETWORK_LIBRARIES = {"boto3", "botocore", "httpx"}
LOCAL_AWS = "local/aws/"
"""Is AWS on one machine, so it speaks its libraries everywhere."""


def may_use_the_network(file: Path) -> bool:
    relative = file.relative_to(ROOT).as_posix()
    named = file.stem == "storage" or file.stem.endswith(("_store", "_client"))
    return named or relative.startswith(LOCAL_AWS)


def imported(file: Path) -> Iterator[str]:
    for node in ast.walk(ast.parse(file.read_text(encoding="utf-8"))):
        if isinstance(node, ast.Import):
            yield from (alias.name.partition(".")[0] for alias in node.names)
        elif isinstance(node, ast.ImportFrom) and node.module and not node.level:
            yield node.module.partition(".")[0]


@pytest.mark.parametrize("package", PACKAGES)
def test_network_libraries_only_where_the_file_name_says_so(package: str):
    files = [file for file in (ROOT / package).rglob("*.py") if "node_modules" not in file.parts]
    assert files
    offenders = [
        f"{file.relative_to(ROOT)} imports {name}"
        for file in files
        if not may_use_the_network(file)
        for name in set(imported(file)) & NETWORK_LIBRARIES
    ]
    assert offenders == []


def test_the_rule_sees_what_it_is_about(tmp_path: Path):
    file = tmp_path / "lease.py"
    file.write_text("import boto3.session\nfrom httpx import get\n")
    assert set(imported(file)) == {"boto3", "httpx"}
    assert not may_use_the_network(ROOT / "livedub" / "lease.py")
    assert may_use_the_network(ROOT / "livedub" / "stream_store.py")
