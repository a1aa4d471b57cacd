"""What the overlay's patches reach for: one object per server."""

from __future__ import annotations

from dataclasses import dataclass

from local.aws.background_work import BackgroundWork
from local.aws.code_store import CodeStore
from local.aws.databases import Databases
from local.aws.functions import Functions
from local.aws.host_commands import HostCommands


@dataclass(slots=True)
class Runtime:
    """The parts of a running local AWS.

    `endpoint` is http://localhost:<port>, known once the server is bound: with 127.0.0.1 moto takes the host of a
    template's URL for a bucket.
    """

    functions: Functions
    background: BackgroundWork
    code: CodeStore
    hosts: HostCommands
    databases: Databases
    endpoint: str = ""
