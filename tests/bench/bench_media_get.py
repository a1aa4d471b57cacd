"""Reads from the media cache against nginx: `python tests/bench/bench_media_get.py [--rounds N] [--out FILE]`, JSON.

1,000 connections that ask again as soon as they were answered, each time for another of 1,000 objects of 40 kB, over
HTTPS with one certificate, one curve and one cipher for both servers, which take turns. The media cache is Caddy
as `python -m media_edge.cache up` runs it; nginx has Debian's usual settings and no log.
"""

from __future__ import annotations

import tempfile
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from pathlib import Path
from typing import Any

from local.ports import free_ports
from tests.bench.media_bench_rig import (
    Child,
    Corpus,
    Host,
    Load,
    allow_many_files,
    caddy,
    in_turns,
    measured,
    median,
    paired,
    printed,
    stored_objects,
    wrong,
)
from tests.integration.media_cache.media_rig import MediaHost, wait_until

CONNECTIONS = 1_000
OBJECTS = 1_000
OBJECT_BYTES = 40_000
NGINX = Path("/usr/sbin/nginx")

NGINX_CONFIGURATION = """
daemon off;
user root;
worker_processes auto;
worker_rlimit_nofile 20000;
pid {folder}/nginx.pid;
error_log stderr warn;
events {{ worker_connections 4096; }}
http {{
    access_log off;
    sendfile on;
    tcp_nopush on;
    keepalive_timeout 75s;
    keepalive_requests 1000000000;
    client_body_temp_path {folder}/body;
    proxy_temp_path {folder}/proxy;
    fastcgi_temp_path {folder}/fastcgi;
    uwsgi_temp_path {folder}/uwsgi;
    scgi_temp_path {folder}/scgi;
    types {{ audio/x-alaw-basic alaw; audio/pcm pcm; }}
    server {{
        listen 127.0.0.1:{port} ssl backlog=4096;
        ssl_certificate {tls}/fullchain.pem;
        ssl_certificate_key {tls}/privkey.pem;
        ssl_protocols TLSv1.2 TLSv1.3;
        ssl_ecdh_curve X25519:prime256v1;
        root {data};
        location ~ "^/media/[0-9a-f]{{2}}/[0-9a-f]{{64}}\\.(alaw|pcm)$" {{
            add_header Cache-Control "private, max-age=31536000, immutable";
        }}
        location / {{ return 404; }}
    }}
}}
"""


@contextmanager
def nginx(folder: Path, data_dir: Path, tls: Path) -> Iterator[Host]:
    """The peer, on the same files with the same certificate."""
    (port,) = free_ports(1)
    folder.mkdir()
    configuration = folder / "nginx.conf"
    configuration.write_text(NGINX_CONFIGURATION.format(folder=folder, port=port, tls=tls, data=data_dir))
    with Child([NGINX, "-p", folder, "-c", configuration]) as server:
        wait_until((folder / "nginx.pid").exists, "nginx serves")
        yield Host(f"127.0.0.1:{port}", tls / "ca-for-clients.pem", [server.pid])


def closed(host: Host, corpus: Corpus, seconds: float) -> dict[str, Any]:
    """One turn."""
    with Load(
        "closed",
        host.address,
        host.roots,
        corpus.requests,
        connections=CONNECTIONS,
        duration=f"{seconds}s",
    ) as load:
        return measured(load, host.pids)


def measure(rounds: int = 5, seconds: float = 4.0) -> dict[str, Any]:
    """`rounds` turns of each."""
    allow_many_files()
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        with MediaHost(folder) as media, ExitStack() as stack:
            corpus = stored_objects(
                media.data_dir, folder / "objects", count=OBJECTS, size_bytes=OBJECT_BYTES
            )
            ours = stack.enter_context(caddy(media, folder / "caddy", [], media.run_dir / "upload.sock"))
            peer = stack.enter_context(nginx(folder / "nginx", media.data_dir, media.tls_path / "tls"))
            figures = in_turns(
                rounds,
                {
                    "media cache": lambda _: closed(ours, corpus, seconds),
                    "nginx": lambda _: closed(peer, corpus, seconds),
                },
            )
    ours_all, peer_all = figures["media cache"], figures["nginx"]
    return {
        "what": f"GET {OBJECT_BYTES} bytes over HTTPS, {CONNECTIONS} kept connections, closed loop",
        "throughput_over_nginx": paired(ours_all, peer_all, "per_second"),
        "server_cpu_over_nginx": paired(ours_all, peer_all, "server_cpu_us"),
        "wrong": wrong(ours_all + peer_all, 200),
        "cores_used_by_others": median(ours_all + peer_all, "cores_used_by_others"),
        "medians": {
            way: {
                figure: median(rows, figure)
                for figure in ("per_second", "server_cpu_us", "client_cpu_us", "p50_ms", "p99_ms")
            }
            for way, rows in figures.items()
        },
        "rounds": figures,
    }


if __name__ == "__main__":
    printed(
        measure,
        __doc__,
        rounds=(int, 5, "turns of each"),
        seconds=(float, 4.0, "length of a turn, in seconds"),
    )
