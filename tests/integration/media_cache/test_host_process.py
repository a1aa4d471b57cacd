"""The processes themselves: start, end, rights, and what is refused at the start."""

import concurrent.futures
import http.client
import os
import re
import signal
import socket
import stat
import subprocess
import sys
import threading
from pathlib import Path

import pytest

from livedub.media_cache.tls_material import self_signed
from local.ports import free_port, free_ports

from .media_rig import ROOT, TOKEN, MediaHost, UploadService, auth, exchange, path_of, read_reply, wait_until

BODY = b"x" * 40_000


def run_command(*arguments: str, **env: str) -> subprocess.CompletedProcess[str]:
    clean = {name: value for name, value in os.environ.items() if not name.startswith("MEDIA_")}
    clean["PYTHONPATH"] = os.pathsep.join([str(ROOT), str(ROOT / "layers/core/python")])
    return subprocess.run(
        [sys.executable, "-m", "media_edge.cache", *arguments],
        env={**clean, **env},
        capture_output=True,
        text=True,
        timeout=60,
        check=False,
    )


def alive(pid: int) -> bool:
    try:
        return Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[0] != "Z"
    except OSError:
        return False


def test_sigterm_leaves_nothing(tmp_path: Path):
    with MediaHost(tmp_path) as host:
        children = host.children()
        assert set(children) == {"caddy", "upload"}
        assert host.stop() == 0
    assert not any(alive(pid) for pid in children.values())
    assert list(host.run_dir.iterdir()) == []
    assert not host.run_dir.joinpath("upload.sock").exists()


def test_sigterm_lets_an_upload_under_way_end(tmp_path: Path):
    metrics_port = free_port()
    with MediaHost(tmp_path, MEDIA_METRICS_PORT=str(metrics_port)) as host:
        path = path_of("under way")
        with host.connect() as connection:
            head = (
                f"PUT {path} HTTP/1.1\r\nHost: x\r\nAuthorization: {auth()['Authorization']}\r\n"
                "Content-Length: 40000\r\n\r\n"
            )
            connection.sendall(head.encode() + BODY[:20_000])
            wait_until(lambda: "media_upload_in_flight 1.0" in scrape(metrics_port), "the upload has begun")
            with concurrent.futures.ThreadPoolExecutor(1) as pool:
                ending = pool.submit(host.stop)
                wait_until(lambda: _refused(host.port), "no new connections")
                connection.sendall(BODY[20_000:])
                assert read_reply(connection).status == 201
                assert ending.result(30) == 0
    assert host.file(path).read_bytes() == BODY


def test_sigterm_while_a_service_starts_leaves_no_socket(tmp_path: Path):
    service = UploadService(tmp_path, tmp_path / "data")
    paths = os.pathsep.join([str(ROOT), str(ROOT / "layers/core/python")])
    with subprocess.Popen(
        [sys.executable, "-m", "media_edge.cache", "serve"],
        env={"PATH": os.environ["PATH"], "PYTHONPATH": paths, **service.env},
        stdout=subprocess.DEVNULL,
        stderr=subprocess.PIPE,
    ) as process:
        try:
            wait_until(lambda: service.socket.exists() or process.poll() is not None, "the socket", 60)
            process.terminate()
            _, said = process.communicate(timeout=60)
        finally:
            process.kill()
    assert process.returncode == 0, said
    assert not service.socket.exists()


def scrape(port: int) -> str:
    connection = http.client.HTTPConnection("127.0.0.1", port, timeout=10)
    try:
        return exchange(connection, "GET", "/metrics").body.decode()
    finally:
        connection.close()


def test_metrics_tell_of_reads_writes_volume_and_certificate(tmp_path: Path):
    uploads, reads = free_ports(2)
    with MediaHost(
        tmp_path,
        MEDIA_METRICS_PORT=str(uploads),
        MEDIA_CADDY_METRICS_PORT=str(reads),
        MEDIA_READ_METRICS="metrics",
    ) as host:
        path = path_of("measured")
        host.put(path, BODY)
        host.request("GET", path)
        host.request("GET", path_of("missing"))
        upload_metrics, caddy_metrics = scrape(uploads), scrape(reads)
    assert 'media_upload_objects_total{result="created",writer="default"} 1.0' in upload_metrics
    assert "media_upload_bytes_sum 40000.0" in upload_metrics
    days = re.search(r"^media_certificate_days_left ([\d.]+)$", upload_metrics, re.MULTILINE)
    assert days
    assert 800 < float(days[1]) < 826
    free = re.search(r"^media_volume_free_bytes (\S+)$", upload_metrics, re.MULTILINE)
    assert free
    assert float(free[1]) > 0
    for code in (200, 404):
        assert re.search(
            rf'^caddy_http_request_duration_seconds_count{{code="{code}",.*method="GET"',
            caddy_metrics,
            re.MULTILINE,
        )


def _refused(port: int) -> bool:
    try:
        socket.create_connection(("127.0.0.1", port), 1).close()
    except OSError:
        return True
    return False


def test_children_die_with_a_host_that_is_killed(tmp_path: Path):
    with MediaHost(tmp_path) as host:
        children = host.children()
        host.stop(signal.SIGKILL)
        wait_until(lambda: not any(alive(pid) for pid in children.values()), "both children are gone")
    # What the killed one left is no obstacle.
    with MediaHost(tmp_path) as host:
        assert host.put(path_of("again"), BODY).status == 201


@pytest.mark.parametrize("child", ["caddy", "upload"])
def test_a_child_that_dies_ends_the_other_and_is_named(tmp_path: Path, child: str):
    with MediaHost(tmp_path) as host:
        children = host.children()
        os.kill(children[child], signal.SIGKILL)
        code = wait_until(lambda: _exit_code(host), "the host ends")
        assert code == 1
        assert not any(alive(pid) for pid in children.values())
    name = {"caddy": "Caddy", "upload": "the upload service"}[child]
    assert f"{name} was ended by SIGKILL" in host.log.read_text()


def _exit_code(host: MediaHost) -> int | None:
    assert host._process
    return host._process.process.poll()


def test_sockets_are_closed_to_others(tmp_path: Path):
    with MediaHost(tmp_path) as host:
        modes = {
            name: stat.S_IMODE((host.run_dir / name).stat().st_mode) for name in ("admin.sock", "upload.sock")
        }
    assert modes == {"admin.sock": 0o600, "upload.sock": 0o660}


def test_no_public_authority_is_ever_asked(tmp_path: Path):
    asked: list[bytes] = []
    with socket.create_server(("127.0.0.1", 0)) as trap:
        trap.settimeout(0.2)
        stop = threading.Event()

        def listen():
            while not stop.is_set():
                try:
                    connection, _ = trap.accept()
                except TimeoutError:
                    continue
                with connection:
                    connection.settimeout(5)
                    asked.append(connection.recv(200))

        listener = threading.Thread(target=listen)
        listener.start()
        proxy = f"http://127.0.0.1:{trap.getsockname()[1]}"
        try:
            # Whatever it would fetch goes through a proxy, and the proxy is us.
            with MediaHost(tmp_path, HTTPS_PROXY=proxy, HTTP_PROXY=proxy, NO_PROXY="") as host:
                assert host.request("GET", "/health").status == 200
                listening = listening_ports(host.children()["caddy"])
        finally:
            stop.set()
            listener.join(10)
    assert asked == []
    assert host.port in listening
    assert not listening & {80, 443, 2019}
    assert not [
        file
        for file in (tmp_path / "caddy-data").rglob("*")
        if "acme" in str(file) or "certificates" in str(file)
    ]


def listening_ports(pid: int) -> set[int]:
    inodes = set()
    for fd in Path(f"/proc/{pid}/fd").iterdir():
        target = str(fd.readlink())
        if target.startswith("socket:["):
            inodes.add(target[8:-1])
    found = set()
    for table in ("tcp", "tcp6"):
        for line in Path(f"/proc/net/{table}").read_text().splitlines()[1:]:
            fields = line.split()
            if fields[3] == "0A" and fields[9] in inodes:
                found.add(int(fields[1].rpartition(":")[2], 16))
    return found


def test_an_unmounted_volume_is_refused_where_one_is_asked_for(tmp_path: Path):
    result = run_command(
        "serve",
        MEDIA_DATA_DIR=str(tmp_path / "data"),
        MEDIA_SOCKET=str(tmp_path / "u.sock"),
        MEDIA_REQUIRE_MOUNT="true",
        MEDIA_UPLOAD_TOKEN=TOKEN,
    )
    assert (result.returncode, "not a mount point" in result.stderr) == (2, True)
    assert not (tmp_path / "data").exists()
    assert not (tmp_path / "u.sock").exists()


def test_a_host_over_an_unmounted_volume_does_not_start(tmp_path: Path):
    with pytest.raises(AssertionError, match="not a mount point"):
        MediaHost(tmp_path, MEDIA_REQUIRE_MOUNT="true").__enter__()


@pytest.mark.parametrize(
    ("files", "said"),
    [
        ({}, "no fullchain.pem"),
        ({"fullchain.pem": b"no certificate", "privkey.pem": b"no key"}, "certificate"),
        ({"fullchain.pem": self_signed(["127.0.0.1"]).fullchain_pem}, "privkey.pem"),
        (
            {
                "fullchain.pem": self_signed(["127.0.0.1"]).fullchain_pem,
                "privkey.pem": self_signed(["127.0.0.1"]).privkey_pem,
            },
            "does not belong",
        ),
    ],
)
def test_certificates_that_cannot_be_served_are_refused(tmp_path: Path, files: dict[str, bytes], said: str):
    tls = tmp_path / "tls"
    tls.mkdir()
    for name, content in files.items():
        (tls / name).write_bytes(content)
    arguments = ["--port", "0", "--data-dir", str(tmp_path / "data"), "--tls-path", str(tmp_path)]
    result = run_command("up", *arguments)
    assert (result.returncode, said in result.stderr) == (2, True), result.stderr
    assert result.stdout == ""


def test_a_taken_port_is_told(tmp_path: Path):
    with socket.create_server(("127.0.0.1", 0)) as taken:
        with MediaHost(tmp_path) as host:
            pass
        port = str(taken.getsockname()[1])
        arguments = ["--data-dir", str(host.data_dir), "--tls-path", str(host.tls_path), "--port", port]
        result = run_command("up", *arguments)
    assert result.returncode == 1
    assert "address already in use" in result.stderr


def test_a_second_service_on_a_socket_or_folder_is_refused(tmp_path: Path):
    with UploadService(tmp_path, tmp_path / "data") as first:
        same_socket = run_command("serve", **{**first.env, "MEDIA_DATA_DIR": str(tmp_path / "other")})
        same_folder = run_command("serve", **{**first.env, "MEDIA_SOCKET": str(tmp_path / "v.sock")})
        assert first.request("GET", "/health").status == 200
    assert (same_socket.returncode, "answers on MEDIA_SOCKET" in same_socket.stderr) == (2, True)
    assert (same_folder.returncode, "another upload service" in same_folder.stderr) == (2, True)


def test_a_socket_left_by_a_killed_service_is_replaced(tmp_path: Path):
    with UploadService(tmp_path, tmp_path / "data") as service:
        service.stop(signal.SIGKILL)
    assert service.socket.exists()
    with UploadService(tmp_path, tmp_path / "data") as service:
        assert service.request("PUT", path_of("x"), BODY).status == 201
    assert not service.socket.exists()


def test_neither_tokens_nor_bodies_reach_the_log(tmp_path: Path):
    with MediaHost(tmp_path) as host:
        host.put(path_of("logged"), BODY)
        host.request("PUT", path_of("logged"), BODY, {"Authorization": "Bearer presented-by-a-stranger"})
        arguments = [Path(f"/proc/{pid}/cmdline").read_bytes() for pid in host.children().values()]
    log = host.log.read_text()
    assert "refused a write" in log
    assert TOKEN not in log
    assert "stranger" not in log
    assert not any(TOKEN.encode() in argument for argument in arguments)
