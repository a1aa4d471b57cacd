import shutil
from pathlib import Path

import pytest

from local.media_servers.base import MediaServer
from local.processes import ProcessSpec, Supervisor, line_ready
from local.publisher import publisher_argv

CHROMIUM = shutil.which("chromium")


@pytest.mark.realtime
@pytest.mark.skipif(CHROMIUM is None, reason="chromium is not on PATH")
async def test_a_browser_waits_for_the_stream_and_plays_it(
    nginx: MediaServer, supervisor: Supervisor, small_clip: Path, tmp_path: Path
):
    argv = (
        *("chromium", "--headless", "--no-sandbox", "--disable-gpu", "--disable-background-networking"),
        *(f"--user-data-dir={tmp_path / 'profile'}", "--no-first-run", "--disable-component-update"),
        *("--autoplay-policy=no-user-gesture-required", "--remote-debugging-port=0"),
        *("--enable-logging=stderr", nginx.watch_url("demo", "in")),
    )
    browser = await supervisor.start(
        ProcessSpec("chromium", argv, stop_timeout_s=3),
        ready=line_ready("CONSOLE.*Waiting for the stream"),
        ready_timeout_s=40,
    )
    source = publisher_argv(small_clip, nginx.publish_url("demo"), loop=True)
    await supervisor.start(ProcessSpec("publisher", source))
    await line_ready("CONSOLE.*Playing")(browser)
