"""When the assembly is made anew. The app here is a stand-in that notes each synthesis."""

import os
import sys
import threading
from pathlib import Path

import pytest

from livedub.errors import MissingPrerequisiteError
from local.aws.assembly import AssemblyError, ensure_assembly

APP = """
import json, os, pathlib
assert json.loads(os.environ["CDK_CONTEXT_JSON"]) == {"environment": "local", "parts": "control-plane"}
out = pathlib.Path(os.environ["CDK_OUTDIR"])
out.mkdir()
(out / "manifest.json").write_text("{}")
with open("syntheses", "a") as noted:
    noted.write("x")
"""


@pytest.fixture
def checkout(tmp_path: Path) -> Path:
    for folder in (
        "infra",
        "functions/on_publish",
        "layers/core/python/livedub",
        "locks",
        "setup",
        ".venv/bin",
    ):
        (tmp_path / folder).mkdir(parents=True)
    (tmp_path / "infra/__init__.py").touch()
    (tmp_path / "infra/app.py").write_text(APP)
    (tmp_path / "functions/on_publish/handler.py").write_text("handler = 1")
    (tmp_path / "locks/functions.txt").write_text("pydantic==2")
    build = tmp_path / "setup/build_layer.sh"
    build.write_text("#!/bin/sh\necho x >>layers-built\n")
    build.chmod(0o755)
    python = tmp_path / ".venv/bin/python"
    python.write_text(f'#!/bin/sh\nexec "{sys.executable}" "$@"\n')
    python.chmod(0o755)
    return tmp_path


def syntheses(checkout: Path) -> int:
    noted = checkout / "syntheses"
    return len(noted.read_text()) if noted.exists() else 0


def test_it_is_made_once_and_found_again(checkout: Path):
    first = ensure_assembly(checkout)
    assert (first / "manifest.json").is_file()
    assert ensure_assembly(checkout) == first
    assert syntheses(checkout) == 1
    assert (checkout / "build/cdk.out/local").resolve() == first
    assert (checkout / "layers-built").is_file()


@pytest.mark.parametrize(
    "changed",
    [
        "infra/stacks/new.py",
        "functions/on_publish/handler.py",
        "layers/core/python/livedub/new.py",
        "locks/functions.txt",
    ],
)
def test_a_change_of_any_source_makes_another(checkout: Path, changed: str):
    first = ensure_assembly(checkout)
    path = checkout / changed
    path.parent.mkdir(exist_ok=True)
    path.write_text("changed = 1")
    second = ensure_assembly(checkout)
    assert second != first
    assert syntheses(checkout) == 2
    assert (checkout / "build/cdk.out/local").resolve() == second


def test_what_running_leaves_behind_is_no_source(checkout: Path):
    ensure_assembly(checkout)
    for folder in ("functions/on_publish/__pycache__", "infra/node_modules/aws-cdk"):
        (checkout / folder).mkdir(parents=True, exist_ok=True)
        (checkout / folder / "left.pyc").write_text("left")
    ensure_assembly(checkout)
    assert syntheses(checkout) == 1


def test_going_back_needs_no_synthesis(checkout: Path):
    handler = checkout / "functions/on_publish/handler.py"
    first = ensure_assembly(checkout)
    handler.write_text("handler = 2")
    ensure_assembly(checkout)
    handler.write_text("handler = 1")
    assert ensure_assembly(checkout) == first
    assert syntheses(checkout) == 2


def test_only_the_latest_few_are_kept(checkout: Path):
    made: list[Path] = []
    for number in range(5):
        (checkout / "functions/on_publish/handler.py").write_text(f"handler = {number}")
        made.append(ensure_assembly(checkout))
        os.utime(made[-1], (number, number))
    assert [path.exists() for path in made] == [False, False, True, True, True]


def test_what_was_packed_goes_with_the_last_assembly_that_has_it(checkout: Path):
    assembly = ensure_assembly(checkout)
    (assembly / "asset.kept").mkdir()
    archives = checkout / "build/cdk.out/archives"
    archives.mkdir()
    for name in ("asset.kept.zip", "asset.gone.zip"):
        (archives / name).touch()
    ensure_assembly(checkout)
    assert [path.name for path in archives.iterdir()] == ["asset.kept.zip"]


def test_what_the_app_says_is_in_the_error_and_nothing_is_left(checkout: Path):
    (checkout / "infra/app.py").write_text("import sys; sys.exit('infra: no such luck')")
    with pytest.raises(AssemblyError, match="exit code 1:\ninfra: no such luck"):
        ensure_assembly(checkout)
    assert {path.name for path in (checkout / "build/cdk.out").iterdir()} == {".local.lock"}


def test_a_layer_that_cannot_be_built_is_an_error(checkout: Path):
    (checkout / "setup/build_layer.sh").write_text("#!/bin/sh\necho 'no index' >&2\nexit 3\n")
    with pytest.raises(AssemblyError, match="third-party packages failed with exit code 3:\nno index"):
        ensure_assembly(checkout)
    assert syntheses(checkout) == 0


def test_sources_that_never_stand_still_are_an_error(checkout: Path):
    (checkout / "infra/app.py").write_text(
        APP + "import time\npathlib.Path('functions/moving.py').write_text(str(time.monotonic_ns()))\n"
    )
    with pytest.raises(AssemblyError, match="changed during each of 3 syntheses"):
        ensure_assembly(checkout)


def test_without_an_environment_the_remedy_is_make_setup(checkout: Path):
    (checkout / ".venv/bin/python").unlink()
    with pytest.raises(MissingPrerequisiteError, match="Run make setup"):
        ensure_assembly(checkout)


def test_two_at_once_share_one_synthesis(checkout: Path):
    results: list[Path] = []
    threads = [threading.Thread(target=lambda: results.append(ensure_assembly(checkout))) for _ in range(2)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join(60)
    assert len(set(results)) == 1
    assert syntheses(checkout) == 1
