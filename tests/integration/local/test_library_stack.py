"""The media library as `livedub up` runs it: real storage, catalogue, queue, worker, API and front."""

import asyncio
import json
import os
import subprocess
import sys
from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any

import httpx
import pytest

from livedub.cli.library_access import shared_library
from local.library_stack import Library, LibraryOptions, LibraryStack
from local.processes import Supervisor
from local.python_child import ROOT

pytestmark = [pytest.mark.slow, pytest.mark.timeout(240)]

BOUND_S = 90


@pytest.fixture
async def supervisor(tmp_path: Path) -> AsyncIterator[Supervisor]:
    async with Supervisor(tmp_path / "logs") as supervisor:
        yield supervisor


def stack_in(folder: Path, supervisor: Supervisor) -> LibraryStack:
    options = LibraryOptions(folder / "library", port=0, objects_port=0, api_processes=1)
    return LibraryStack(supervisor, options, folder / "run")


def make_clip(path: Path) -> None:
    picture = ["-f", "lavfi", "-i", "testsrc=size=320x180:rate=25:duration=4"]
    sound = ["-f", "lavfi", "-i", "sine=duration=4"]
    codecs = ["-c:v", "libx264", "-preset", "ultrafast", "-g", "25", "-c:a", "aac"]
    command = ["ffmpeg", "-v", "error", "-y", *picture, *sound, *codecs, str(path)]
    subprocess.run(command, check=True, timeout=BOUND_S)


async def livedub(state: Path, *arguments: str) -> str:
    """What `livedub library ...` prints, in a process of its own, with nothing in its environment to find it by."""
    clean = {
        name: value
        for name, value in os.environ.items()
        if not name.startswith(("LIBRARY_", "S3_", "AWS_", "LIVEDUB_"))
    }
    path = os.pathsep.join([str(ROOT), str(ROOT / "layers/core/python")])
    process = await asyncio.create_subprocess_exec(
        *(sys.executable, "-m", "livedub.cli.main", "library", *arguments),
        env={**clean, "PYTHONPATH": path, "XDG_STATE_HOME": str(state), "COLUMNS": "200"},
        stdout=asyncio.subprocess.PIPE,
        stderr=asyncio.subprocess.PIPE,
    )
    async with asyncio.timeout(BOUND_S):
        output, errors = await process.communicate()
    assert process.returncode == 0, (output, errors)
    return output.decode()


async def graphql(library: Library, query: str) -> Any:
    async with httpx.AsyncClient(timeout=BOUND_S, trust_env=False) as client:
        answer = await client.post(
            f"{library.url}/graphql",
            json={"query": query},
            headers={"authorization": f"Bearer {library.api_token}"},
        )
    return answer.json()["data"]


async def presigned(client: httpx.AsyncClient, library: Library, content: bytes) -> None:
    """Upload and download by addresses alone, on a server that checks signatures."""
    bearer = {"authorization": f"Bearer {library.api_token}"}
    asked = await client.post(
        f"{library.url}/api/assets/upload-url", json={"key": "by url.mp4"}, headers=bearer
    )
    address = asked.json()
    sent = {"content-type": address["content_type"]}
    assert (await client.put(address["url"], content=content, headers=sent)).status_code == 200
    forged = address["url"].replace("by%20url", "another")
    assert (await client.put(forged, content=content, headers=sent)).status_code == 403
    await client.post(f"{library.url}/api/assets/scan", json={}, headers=bearer, timeout=BOUND_S)
    listed = await client.get(f"{library.url}/api/assets?search=by+url", headers=bearer)
    (asset,) = listed.json()["items"]
    address = (
        await client.get(f"{library.url}/api/assets/{asset['id']}/download-url", headers=bearer)
    ).json()
    assert (await client.get(address["url"])).content == content


async def test_a_file_is_put_scanned_trimmed_and_looked_at(supervisor: Supervisor, tmp_path: Path):
    clip = tmp_path / "clip.mp4"
    await asyncio.to_thread(make_clip, clip)
    state = tmp_path / "state"
    stack = stack_in(tmp_path, supervisor)
    async with stack as library:
        await stack.start_worker({"STS_SERVICE_URL": ""})
        with shared_library(library.environment, {"XDG_STATE_HOME": str(state)}):
            await livedub(state, "put", str(clip), "--prefix", "shows/")
            scanned = await graphql(
                library, "mutation { scanMediaFolder { found registered skipped files } }"
            )
            assert scanned["scanMediaFolder"] == {
                "found": 1,
                "registered": 1,
                "skipped": 0,
                "files": ["shows/clip.mp4"],
            }
            assert "h264 320x180" in await livedub(state, "ls")
            arguments = ("trim", "shows/clip.mp4", "--start", "1", "--end", "3", "--wait", "--json")
            job = json.loads((await livedub(state, "job", *arguments)).splitlines()[-1])
            assert (job["state"], job["output_key"]) == ("COMPLETED", "shows/clip.1000-3000.mp4")
            await livedub(state, "get", "--bucket", "out", job["output_key"], str(tmp_path / "cut.mp4"))
        cut = (tmp_path / "cut.mp4").read_bytes()
        async with httpx.AsyncClient(trust_env=False) as client:
            part = await client.get(
                f"{library.url}/media/out/{job['output_key']}", headers={"range": "bytes=0-99"}
            )
            assert (part.status_code, part.content) == (206, cut[:100])
            await presigned(client, library, clip.read_bytes())
            assert (await client.put(f"{library.url}/media/in/new.mp4", content=b"x")).status_code == 405
            assert (await client.get(f"{library.url}/api/status")).status_code == 401
    assert not supervisor.children


async def test_the_next_run_finds_what_the_last_one_left(supervisor: Supervisor, tmp_path: Path):
    state = tmp_path / "state"
    note = tmp_path / "note.wav"
    note.write_bytes(b"no sound")
    async with stack_in(tmp_path, supervisor) as library:
        with shared_library(library.environment, {"XDG_STATE_HOME": str(state)}):
            await livedub(state, "put", str(note), "--scan")
    async with stack_in(tmp_path, supervisor) as library:
        with shared_library(library.environment, {"XDG_STATE_HOME": str(state)}):
            listed = json.loads(await livedub(state, "ls", "--json"))
            assert (listed["key"], listed["status"]) == ("note.wav", "UNREADABLE")
            await livedub(state, "get", "note.wav", str(tmp_path / "again.wav"))
    assert (tmp_path / "again.wav").read_bytes() == b"no sound"
