"""`livedub hosts`: what the machines of an environment do for themselves."""

from __future__ import annotations

import typer

from livedub.cli import hosts_environment, hosts_logs

hosts = typer.Typer(no_args_is_help=True, help="Run on a host by its boot script and its units.")

for _part in (hosts_environment, hosts_logs):
    _part.register(hosts)
