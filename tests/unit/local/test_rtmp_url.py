import pytest

from livedub.errors import InvalidInputError
from local.rtmp_url import ffmpeg_play_args, ffmpeg_publish_args, split_rtmp_url


def test_the_application_is_the_first_path_element_and_the_rest_the_playpath():
    address = split_rtmp_url("rtmp://127.0.0.1:19350/live/demo/out?token=x")
    assert (address.host, address.port) == ("127.0.0.1", 19350)
    assert (address.app, address.playpath) == ("live", "demo/out?token=x")
    assert address.tc_url == "rtmp://127.0.0.1:19350/live"


def test_the_port_defaults_to_the_registered_one():
    assert split_rtmp_url("rtmp://host/live/demo/in").port == 1935


@pytest.mark.parametrize(
    "url", ["rtmp://host/live", "http://host/live/a/in", "rtmp:///live/a/in", "live/a/in", ""]
)
def test_what_is_no_rtmp_stream_is_refused(url: str):
    with pytest.raises(InvalidInputError, match="no RTMP stream"):
        split_rtmp_url(url)


def test_ffmpeg_is_told_the_split_it_would_guess_wrongly():
    expected = ["-rtmp_app", "live", "-rtmp_playpath", "demo/in"]
    publish = ffmpeg_publish_args("rtmp://host/live/demo/in")
    play = ffmpeg_play_args("rtmp://host/live/demo/in")
    assert publish == ["-f", "flv", *expected, "rtmp://host/live/demo/in"]
    assert play[:4] == expected
    assert play[-2:] == ["-i", "rtmp://host/live/demo/in"]
