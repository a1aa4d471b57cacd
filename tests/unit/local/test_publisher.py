from pathlib import Path

import pytest

from livedub.errors import InvalidInputError, MissingPrerequisiteError
from local.publisher import publisher_argv

URL = "rtmp://127.0.0.1:1935/live/demo/in"


def following(argv: list[str], name: str) -> str:
    return argv[argv.index(name) + 1]


def test_packets_are_copied_at_the_pace_of_their_timestamps():
    argv = publisher_argv(Path("clip.mp4"), URL)
    assert following(argv, "-c") == "copy"
    assert float(following(argv, "-readrate")) == 1.0
    assert "-stream_loop" not in argv
    assert argv[-1] == URL


def test_a_drifting_clock_a_loop_and_an_end_can_be_asked_for():
    argv = publisher_argv(Path("clip.mp4"), URL, loop=True, rate=1.0002, seconds=12.5)
    assert float(following(argv, "-readrate")) == 1.0002
    assert following(argv, "-stream_loop") == "-1"
    assert argv.index("-stream_loop") < argv.index("-i") < argv.index("-t"), (
        "input options, input, output options"
    )
    assert following(argv, "-t") == "12.500"


def test_without_ffmpeg_the_remedy_is_named(monkeypatch: pytest.MonkeyPatch):
    monkeypatch.setenv("PATH", "")
    with pytest.raises(MissingPrerequisiteError, match="make setup"):
        publisher_argv(Path("clip.mp4"), URL)


def test_a_url_that_is_no_stream_is_refused():
    with pytest.raises(InvalidInputError):
        publisher_argv(Path("clip.mp4"), "rtmp://127.0.0.1/live")
