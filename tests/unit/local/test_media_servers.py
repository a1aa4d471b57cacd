from pathlib import Path

import pytest

from livedub.errors import ConfigurationError, InvalidInputError
from livedub.verify.sync import SyncPattern
from local import sync_clip
from local.media_servers import select
from local.media_servers.base import MediaServerOptions, StreamPath
from local.media_servers.mediamtx import MediaMtx
from local.media_servers.nginx_rtmp import NginxRtmp, published_paths
from local.media_servers.select import select_media_server
from local.processes import Supervisor


def options(bind: str = "127.0.0.1") -> MediaServerOptions:
    return MediaServerOptions(Path("run"), rtmp_port=1935, http_port=8888, bind=bind)


def server(kind: str, bind: str = "127.0.0.1"):
    return select_media_server(options(bind), Supervisor(Path("logs")), kind=kind)


@pytest.mark.parametrize("kind", ["nginx-rtmp", "mediamtx"])
def test_both_servers_take_a_publisher_at_the_same_place(kind: str):
    it = server(kind)
    assert it.publish_url("demo") == "rtmp://127.0.0.1:1935/live/demo/in"
    assert it.play_url("demo") == "rtmp://127.0.0.1:1935/live/demo/out"
    assert it.play_url("demo", "out-en") == "rtmp://127.0.0.1:1935/live/demo/out-en"
    assert it.obs_settings("demo") == ("rtmp://127.0.0.1:1935/live", "demo/in")


def test_what_listens_everywhere_is_reached_by_the_loopback():
    assert server("nginx-rtmp", "0.0.0.0").publish_url("a") == "rtmp://127.0.0.1:1935/live/a/in"  # noqa: S104
    assert server("nginx-rtmp", "192.0.2.9").publish_url("a") == "rtmp://192.0.2.9:1935/live/a/in"


def test_each_server_has_its_own_hls():
    assert server("nginx-rtmp").hls_url("demo") == "http://127.0.0.1:8888/hls/demo/out.m3u8"
    assert server("mediamtx").hls_url("demo") == "http://127.0.0.1:8888/live/demo/out/index.m3u8"
    assert server("nginx-rtmp").watch_url("demo").endswith("/watch.html?stream=demo/out")


@pytest.mark.parametrize("stream_id", ["", "a b", "../x", "a/b", "ä", "a" * 65])
def test_a_stream_id_outside_the_naming_scheme_makes_no_url(stream_id: str):
    with pytest.raises(InvalidInputError, match="no stream path"):
        server("nginx-rtmp").publish_url(stream_id)


@pytest.mark.parametrize(("found", "expected"), [("/usr/bin/mediamtx", MediaMtx), (None, NginxRtmp)])
def test_the_server_of_production_is_preferred(
    monkeypatch: pytest.MonkeyPatch, found: str | None, expected: type
):
    monkeypatch.setattr(select, "find_mediamtx", lambda: found)
    assert isinstance(server("auto"), expected)


def test_an_unknown_server_is_named():
    with pytest.raises(ConfigurationError, match="auto or one of mediamtx, nginx-rtmp"):
        server("srs")


def test_only_paths_with_a_publisher_count_as_published():
    def stream(name: str, publishing: str) -> str:
        return f"<stream><name>{name}</name>{publishing}</stream>"

    streams = stream("b/in", "<publishing/>") + stream("a/out", "<publishing/>") + stream("c/in", "")
    foreign = stream("odd", "<publishing/>")
    application = "<application><name>{}</name><live>{}</live></application>"
    text = (
        "<rtmp><server>"
        + application.format("live", streams + foreign)
        + application.format("vod", stream("d/in", "<publishing/>"))
        + "</server></rtmp>"
    )
    assert published_paths(text) == [StreamPath("a", "out"), StreamPath("b", "in")]


def test_the_verifier_looks_where_the_clip_shows():
    pattern = SyncPattern()
    assert (pattern.reference_width, pattern.reference_height) == (
        sync_clip.REFERENCE_WIDTH,
        sync_clip.REFERENCE_HEIGHT,
    )
    assert pattern.strip_height == sync_clip.STRIP_HEIGHT
    assert pattern.flash_box == sync_clip.FLASH_BOX
    assert pattern.index_bits == sync_clip.INDEX_BITS
    assert all(pattern.index_box(bit) == sync_clip.index_box(bit) for bit in range(pattern.index_bits))
    assert pattern.period_ms == sync_clip.EVENT_PERIOD_MS
    assert (pattern.beep_hz, pattern.beep_ms) == (sync_clip.BEEP_HZ, sync_clip.BEEP_MS)
