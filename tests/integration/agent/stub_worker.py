"""Speaks the protocol of `run --supervised` without media. Keeps a diary: one JSON line per thing that happens to it.

It goes live at once; SIGUSR1 makes it stand still. Its environment names the diary's folder.
"""

from __future__ import annotations

import json
import os
import signal
import sys
import threading
import time
from pathlib import Path
from typing import Any

from livedub.parent_death import die_with_parent

DRAIN_S = 0.3
wedged = threading.Event()
draining = threading.Event()


def say(event: dict[str, Any]) -> None:
    sys.stdout.write(json.dumps(event) + "\n")
    sys.stdout.flush()


def note(what: dict[str, Any]) -> None:
    entry = {**what, "pid": os.getpid(), "at": time.time()}
    with (Path(os.environ["STUB_DIARY"]) / f"{os.getpid()}.jsonl").open("a") as file:
        file.write(json.dumps(entry) + "\n")


def read_commands() -> None:
    for line in sys.stdin:
        command = json.loads(line)
        if command["command"] == "lease":
            continue
        note(command)
        if command["command"] == "drain":
            time.sleep(DRAIN_S)
            os._exit(0)
        if command["command"] == "stop":
            os._exit(8)
    note({"event": "orphaned"})
    os._exit(8)


def leave_subtitles(settings: dict[str, Any]) -> None:
    """As the real one does: STREAM_ID/LANGUAGE.vtt in the folder it was told."""
    if "subtitles_dir" not in settings:
        return
    folder = Path(settings["subtitles_dir"]) / settings["stream_id"]
    folder.mkdir(parents=True, exist_ok=True)
    (folder / "en.vtt").write_text("WEBVTT\n\n00:01.000 --> 00:02.000\nhello\n\n")
    if "recording_path" in settings:
        Path(settings["recording_path"]).write_bytes(b"FLV")


def main() -> None:
    die_with_parent()
    signal.signal(signal.SIGUSR1, lambda *_: wedged.set())
    say({"event": "ready"})
    line = sys.stdin.readline()
    if not line:
        return
    assignment = json.loads(line)
    settings = assignment["settings"]
    note({"event": "assigned", **assignment})
    leave_subtitles(settings)
    origin = {
        "utc_ns": time.time_ns(),
        "media_offset_ns": os.getpid(),
        "delay_ms": 4_000,
        "generation": settings["generation"],
    }
    say({"event": "timeline", "stream_id": settings["stream_id"], "origin": origin})
    say({"event": "state", "state": "live"})
    threading.Thread(target=read_commands, daemon=True).start()
    output_ms = 0
    while True:
        say({"event": "progress", "output_media_ms": output_ms})
        time.sleep(0.1)
        if not wedged.is_set():
            output_ms += 100


if __name__ == "__main__":
    main()
