"""The local AWS as a process: moto, overlay and front behind one port on 127.0.0.1."""

from __future__ import annotations

import json
import logging
import os
import signal
import threading
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from pathlib import Path
from types import FrameType

from moto.moto_server.werkzeug_app import (
    DomainDispatcherApplication,
    MotoRequestHandler,
    create_backend_app,
)
from werkzeug.serving import BaseWSGIServer, make_server

from local.aws import collector
from local.aws.background_work import BackgroundWork
from local.aws.code_store import CodeStore
from local.aws.databases import Databases
from local.aws.front import Front
from local.aws.function_pool import FunctionPools
from local.aws.functions import Functions
from local.aws.host_commands import HostCommands
from local.aws.host_front import HostFront
from local.aws.lambda_environment import LambdaEnvironment
from local.aws.overlay.catalogue import MotoCatalogue
from local.aws.overlay.installed import install
from local.aws.overlay.lambda_functions import keep_log
from local.aws.runtime import Runtime
from local.aws.scratch import scratch_folder
from local.aws.settings import LocalAwsSettings
from local.aws.spawner import Spawner
from local.ports import require_free

_LOG = logging.getLogger(__name__)
_HOST = "127.0.0.1"
_END_BOUND_S = 2.0


class _Handler(MotoRequestHandler):
    # Headers and body leave in two writes; with Nagle's algorithm a client on a kept connection waits 40 ms for the
    # second one.
    disable_nagle_algorithm = True

    def log_request(self, code: int | str = "-", size: int | str = "-") -> None:  # noqa: ARG002 - theirs
        _LOG.debug("%s %s", self.requestline, code)


def serve(settings: LocalAwsSettings, *, ready_file: Path | None = None) -> None:
    """Run until SIGTERM or SIGINT; says {"event": "ready", "endpoint": ...} on stdout and into `ready_file`.

    Raises:
        MissingPrerequisiteError: the Lambda emulator is not installed.
        ConfigurationError: the port is taken.
        OverlayError: the wrong moto is installed.
    """
    ending = threading.Event()

    def end(_number: int, _frame: FrameType | None) -> None:
        ending.set()

    signal.signal(signal.SIGTERM, end)
    signal.signal(signal.SIGINT, end)
    with _running(settings) as server:
        thread = threading.Thread(target=server.serve_forever, name="http", daemon=True)
        thread.start()
        _announce(f"http://localhost:{server.port}", ready_file)
        ending.wait()
        server.shutdown()
        thread.join(_END_BOUND_S)


@contextmanager
def _running(settings: LocalAwsSettings) -> Iterator[BaseWSGIServer]:
    emulator = settings.require_emulator()
    if settings.port:
        require_free(_HOST, settings.port, needed_by="The local AWS")
    with ExitStack() as held:
        root = held.enter_context(scratch_folder())
        spawner = held.enter_context(Spawner())
        background = BackgroundWork(speed=settings.schedule_speed)
        held.callback(background.close)
        pools = FunctionPools(
            lambda spec: LambdaEnvironment(spec, emulator=emulator, spawner=spawner, scratch=root),
            limit=settings.environments_per_function,
            patience_s=settings.function_patience_s,
        )
        held.callback(pools.close)
        functions = Functions(pools, background, keep_log)
        databases = Databases(spawner, root)
        held.callback(databases.close)
        runtime = Runtime(functions, background, CodeStore(root), HostCommands(), databases)
        install(runtime)
        application = Front(
            MotoCatalogue(runtime),
            functions,
            HostFront(runtime.hosts),
            DomainDispatcherApplication(create_backend_app),
        )
        server = make_server(_HOST, settings.port, application, threaded=True, request_handler=_Handler)
        held.callback(server.server_close)
        runtime.endpoint = f"http://localhost:{server.port}"
        os.environ["MOTO_PORT"] = str(server.port)  # where moto's own state machines call services
        collector.settle(background)
        yield server


def _announce(endpoint: str, ready_file: Path | None) -> None:
    line = json.dumps({"event": "ready", "endpoint": endpoint})
    if ready_file is not None:
        partial = ready_file.with_name(f"{ready_file.name}.partial")
        partial.write_text(f"{line}\n")
        partial.replace(ready_file)
    print(line, flush=True)  # noqa: T201 - the contract with whoever starts us
