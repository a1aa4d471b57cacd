"""A dub job with everything it runs on: a service by HTTP, DeepFilterNet under the dub, a storage."""

import os
import re
import subprocess
import sys
import time
from collections.abc import Iterator
from contextlib import suppress
from pathlib import Path

import pytest

from livedub.library.types import DubParameters, DubTarget, JobKind
from tests.unit.livedub.dubbing.test_media_file import make
from tests.unit.livedub.library.work.work_rig import FolderStorage, job_of, run

pytestmark = pytest.mark.slow

ROOT = Path(__file__).resolve().parents[3]
TALK = "0.4*sin(2*PI*200*t)*between(mod(t\\,5)\\,1\\,3.5)+0.02*sin(2*PI*900*t)"


@pytest.fixture(scope="module")
def service(tmp_path_factory: pytest.TempPathFactory) -> Iterator[str]:
    log = tmp_path_factory.mktemp("sts") / "log"
    environment = {**os.environ, "STS_PROFILE": "mock", "PYTHONPATH": f"{ROOT}:{ROOT / 'layers/core/python'}"}
    command = [sys.executable, "-m", "gpu_handler", "serve", "--port", "0", "--die-with-parent"]
    with (
        log.open("w") as file,
        subprocess.Popen(command, stdout=file, stderr=file, env=environment, cwd=ROOT) as child,
    ):
        try:
            deadline = time.monotonic() + 60
            while not (found := re.search(r"STS ready on (http://\S+?):? ", f"{log.read_text()} ")):
                assert child.poll() is None, log.read_text()
                assert time.monotonic() < deadline, log.read_text()
                time.sleep(0.05)
            yield found[1]
        finally:
            child.terminate()
            with suppress(subprocess.TimeoutExpired):
                child.wait(20)
            child.kill()


def test_the_same_job_makes_the_same_bytes_twice(service: str, tmp_path: Path):
    talk = make(tmp_path / "talk.mp4", seconds=21, audio=TALK)
    targets = (DubTarget(language="en"), DubTarget(language="fr"))
    job = job_of(
        DubParameters(source_language="es", targets=targets), JobKind.DUB, "talk.mp4", "out/talk.mkv"
    )
    made: list[tuple[object, ...]] = []
    for attempt in ("1", "2"):
        storage = FolderStorage(tmp_path / attempt)
        storage.put("talk.mp4", talk)
        outputs = run(job, storage, tmp_path / attempt, sts_service_url=service, dub_range_s=10)
        assert [output.key for output in outputs] == ["out/talk.en.vtt", "out/talk.fr.vtt", "out/talk.mkv"]
        assert storage.path("mpr-media-out", "out/talk.en.vtt").read_text().count("-->") >= 4
        made.append(tuple(output.sha256 for output in outputs))
    assert made[0] == made[1]
