"""What hosts install: the same sources, the same bytes; and of what is fetched, the file that the lock names or none."""

import hashlib
import importlib
import os
import re
import shutil
import subprocess
import sys
import threading
import zipfile
from collections.abc import Iterator
from contextlib import contextmanager
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path

import pytest

from tests.infra.conftest import ROOT
from tests.infra.offline_build import build_offline

FETCH = ROOT / "setup/fetch_pinned.py"
CONTENT = b"a program" * 1_000
DIGEST = hashlib.sha256(CONTENT).hexdigest()
NOWHERE = "http://127.0.0.1:9/program-{version}"


# --- the wheel


def build_wheel_in(checkout: Path, **variables: str) -> Path:
    subprocess.run(
        [checkout / "setup/build_wheel.sh"],
        env={**os.environ, **variables},
        check=True,
        timeout=100,
        capture_output=True,
    )
    [wheel] = (checkout / "build/wheels").glob("*.whl")
    return wheel


@pytest.fixture(scope="module")
def wheels(tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, Path]:
    """Of two copies of this checkout; the files of the second have other times and modes."""
    first, second = tmp_path_factory.mktemp("first"), tmp_path_factory.mktemp("second")
    for name in ("layers/core", "media_edge", "gpu_handler"):
        shutil.copytree(ROOT / name, first / name, ignore=shutil.ignore_patterns("__pycache__"))
        shutil.copytree(first / name, second / name)
    for copy in (first, second):
        for name in ("pyproject.toml", "README.md", "setup/build_wheel.sh", ".gitignore"):
            (copy / name).parent.mkdir(exist_ok=True)
            shutil.copy(ROOT / name, copy / name)
        (copy / ".venv").symlink_to(ROOT / ".venv")
    for path in second.rglob("*.py"):
        path.chmod(0o600)
        os.utime(path, (1_000_000_000, 1_000_000_000))
    return build_wheel_in(first), build_wheel_in(second, SOURCE_DATE_EPOCH="1700000000", TZ="Asia/Tokyo")


def test_two_builds_of_the_wheel_are_the_same_to_the_byte(wheels: tuple[Path, Path]):
    first, second = wheels
    assert first.name == second.name
    assert hashlib.sha256(first.read_bytes()).digest() == hashlib.sha256(second.read_bytes()).digest()


def test_the_wheel_has_units_and_configuration_and_no_other_name(wheels: tuple[Path, Path]):
    names = set(zipfile.ZipFile(wheels[0]).namelist())
    assert {name.split("/")[0].split("-")[0] for name in names} == {"livedub", "gpu_handler", "media_edge"}
    wanted = [
        path.relative_to(ROOT)
        for folder in ("mediamtx", "worker", "cache")
        for path in (ROOT / "media_edge" / folder).glob("*.*")
        if path.suffix in {".service", ".timer", ".conf", ".yml"}
    ]
    assert len(wanted) > 8
    assert {str(path) for path in wanted} <= names


def test_a_wheel_that_is_there_already_stays_and_another_version_goes(tmp_path: Path):
    def build() -> None:
        subprocess.run(
            [ROOT / "setup/build_wheel.sh", tmp_path], check=True, timeout=100, capture_output=True
        )

    (tmp_path / "livedub-0.0.1-py3-none-any.whl").touch()
    build()
    [wheel] = tmp_path.glob("*.whl")
    written = wheel.stat().st_mtime_ns
    build()
    assert [path.name for path in tmp_path.glob("*.whl")] == [wheel.name]
    assert wheel.stat().st_mtime_ns == written


# --- everything that make build makes


def built_by_make() -> list[str]:
    """The command lines of `make build` whose first argument is what they make."""
    scripts = [ROOT / "setup" / name for name in ("build.sh", "build_hosts.sh")]
    lines = [line for script in scripts for line in script.read_text().splitlines()]
    return [
        line.strip() for line in lines if re.match(r"setup/build_(?:layer|host_packages)\.sh\b", line.strip())
    ]


def test_make_build_makes_these():
    made = [
        line.split()[1] if len(line.split()) > 1 else "build/layers/dependencies" for line in built_by_make()
    ]
    assert made == [
        "build/layers/dependencies",
        "build/layers/library",
        "build/layers/media-cache",
        "build/media-cache-host",
        "build/hosts/media",
        "build/hosts/worker",
    ]


def build_into(target: Path, command: str) -> None:
    script, *arguments = command.split()
    build_offline(script.removeprefix("setup/"), target, *arguments[1:])


def digest_of(folder: Path) -> str:
    """Of everything that an archive of it shows: names, modes, times, contents."""
    digest = hashlib.sha256()
    for path in sorted(folder.rglob("*")):
        status = path.stat()
        digest.update(f"{path.relative_to(folder)} {status.st_mode:o} {int(status.st_mtime)}\n".encode())
        digest.update(path.read_bytes() if path.is_file() else b"")
    return digest.hexdigest()


@pytest.mark.slow
@pytest.mark.parametrize("command", built_by_make())
def test_two_builds_of_each_have_the_same_sha256(command: str, tmp_path: Path):
    digests: set[str] = set()
    for name in ("one", "two"):
        build_into(tmp_path / name, command)
        digests.add(digest_of(tmp_path / name))
        shutil.rmtree(tmp_path / name)
    assert len(digests) == 1


@pytest.mark.slow
def test_the_media_host_can_run_on_its_packages_and_the_wheel(wheels: tuple[Path, Path], tmp_path: Path):
    build_into(tmp_path / "packages", "setup/build_host_packages.sh build/hosts/media locks/media-host.txt")
    assert not (tmp_path / "packages/bin").exists()
    zipfile.ZipFile(wheels[0]).extractall(tmp_path / "wheel")
    code = (
        "import sys; sys.dont_write_bytecode = True; sys.path[:0] = sys.argv[1:]\n"
        "import media_edge.mediamtx.relay.__main__, media_edge.mediamtx.recordings, livedub.cli.main, boto3\n"
        "from pathlib import Path; assert Path(livedub.__file__).is_relative_to(sys.argv[1])"
    )
    done = subprocess.run(
        [sys.executable, "-I", "-S", "-c", code, tmp_path / "wheel", tmp_path / "packages"],
        capture_output=True,
        text=True,
        timeout=100,
        check=False,
    )
    assert done.returncode == 0, done.stderr


# --- what no registry has


@contextmanager
def server(*, status: int = 200, content: bytes = CONTENT) -> Iterator[tuple[str, list[str]]]:
    """A place to fetch from, and what was asked of it."""
    asked: list[str] = []

    class Handler(BaseHTTPRequestHandler):
        def do_GET(self) -> None:
            asked.append(self.path)
            self.send_response(status)
            self.send_header("Content-Length", str(len(content)))
            self.end_headers()
            self.wfile.write(content)

        def log_message(self, format: str, *args: object) -> None:  # noqa: A002 - the base's name
            """Into no test's output."""

    http = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
    thread = threading.Thread(target=http.serve_forever)
    thread.start()
    try:
        yield f"http://127.0.0.1:{http.server_port}/program-{{version}}.tar.gz", asked
    finally:
        http.shutdown()
        thread.join(10)
        http.server_close()


def fetch(*arguments: object) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        [sys.executable, FETCH, *map(str, arguments)],
        # No proxy: the address is this machine's.
        env={"PATH": os.environ["PATH"]},
        capture_output=True,
        text=True,
        timeout=100,
        check=False,
    )


def lock_in(folder: Path) -> Path:
    lock = folder / "lock.txt"
    lock.write_text(f"# What it is.\nprogram==1.2 --hash=sha256:{DIGEST}\n")
    return lock


def test_a_file_is_fetched_once(tmp_path: Path):
    with server() as (url, asked):
        lock, target = lock_in(tmp_path), tmp_path / "new" / "program"
        for _ in range(2):
            done = fetch(lock, target, url)
            assert (done.returncode, done.stderr) == (0, "")
            assert target.read_bytes() == CONTENT
        assert asked == ["/program-1.2.tar.gz"]


def test_another_file_than_the_locks_is_refused_and_not_kept(tmp_path: Path):
    with server(content=CONTENT + b"!") as (url, _):
        done = fetch(lock_in(tmp_path), tmp_path / "new" / "program", url)
    assert done.returncode == 1
    assert f"says {DIGEST}: nothing is kept" in done.stderr
    assert list((tmp_path / "new").iterdir()) == []


def test_a_file_that_somebody_put_there_is_taken_where_it_is_the_right_one(tmp_path: Path):
    target = tmp_path / "program"
    target.write_bytes(CONTENT)
    lock = lock_in(tmp_path)
    assert fetch(lock, target, NOWHERE).returncode == 0
    target.write_bytes(b"another")
    assert fetch(lock, target, NOWHERE).returncode == 75, "and otherwise it is fetched"


def test_what_cannot_be_reached_and_what_is_refused_are_told_apart(tmp_path: Path):
    done = fetch(lock_in(tmp_path), tmp_path / "program", NOWHERE)
    assert (done.returncode, done.stderr.count("\n")) == (75, 1)
    with server(status=404) as (url, _):
        done = fetch(lock_in(tmp_path), tmp_path / "program", url)
    assert done.returncode == 1
    assert "answers 404" in done.stderr


def test_pinning_writes_the_digest_of_what_is_there_now_and_keeps_the_comment(tmp_path: Path):
    lock = tmp_path / "lock.txt"
    lock.write_text("# What it is.\n")
    with server() as (url, _):
        refused = fetch(lock, tmp_path / "program", url)
        assert refused.returncode == 1
        assert "pins nothing" in refused.stderr
        pinned = fetch("--pin", lock, "program==1.2", url)
        assert pinned.returncode == 0
        assert DIGEST in pinned.stdout
        assert lock.read_text() == f"# What it is.\nprogram==1.2 --hash=sha256:{DIGEST}\n"
        assert fetch(lock, tmp_path / "program", url).returncode == 0


def test_what_has_no_address_is_said(tmp_path: Path):
    done = fetch(lock_in(tmp_path), tmp_path / "program")
    assert done.returncode == 1
    assert "program has no address" in done.stderr


@pytest.mark.parametrize("name", ["mediamtx", "ssm-agent"])
def test_every_lock_names_one_version_that_its_makers_have(name: str, monkeypatch: pytest.MonkeyPatch):
    monkeypatch.syspath_prepend(str(FETCH.parent))
    fetch_pinned = importlib.import_module("fetch_pinned")
    program, version, digest = fetch_pinned.read_lock(ROOT / f"locks/{name}.txt")
    address = fetch_pinned.address_of(program, version, None)
    assert version in address
    assert "latest" not in address
    assert len(bytes.fromhex(digest)) == 32


def test_the_media_server_of_the_lock_is_the_one_that_its_configuration_is_for():
    configuration = (ROOT / "media_edge/mediamtx/mediamtx.yml").read_text()
    assert configuration.startswith("# MediaMTX v1.20.1 ")
    assert "mediamtx==1.20.1 " in (ROOT / "locks/mediamtx.txt").read_text()


@pytest.mark.parametrize("script", sorted(path.name for path in (ROOT / "setup").glob("build*.sh")))
def test_shellcheck_finds_nothing(script: str):
    checker = Path(sys.executable).with_name("shellcheck")
    done = subprocess.run(
        [checker, ROOT / "setup" / script], capture_output=True, text=True, timeout=60, check=False
    )
    assert (done.returncode, done.stdout) == (0, "")
