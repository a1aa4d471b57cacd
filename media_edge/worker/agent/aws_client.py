"""boto3 clients for an agent: short bounds and no hidden retries, because the agent itself knows what a retry means."""

from __future__ import annotations

from typing import Any

from boto3.session import Session
from botocore.config import Config


def agent_aws_client(service: str, timeout_s: float, *, longest_poll_s: float = 0.0) -> Any:
    """A client whose every call ends within about `timeout_s` (plus the poll it asks for).

    Address, region and credentials come from boto3's own environment variables and files.
    """
    config = Config(
        connect_timeout=timeout_s,
        read_timeout=timeout_s + longest_poll_s,
        retries={"mode": "standard", "total_max_attempts": 1},
        max_pool_connections=64,
        tcp_keepalive=True,
    )
    session: Any = Session()
    return session.client(service, config=config)
