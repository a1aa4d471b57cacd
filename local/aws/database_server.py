"""`python -m local.aws.database_server FD FOLDER`: a Postgres behind the open port FD, as RDS serves one.

Postgres itself listens on a Unix socket; before it stands TLS with a certificate of nobody's, for RDS refuses what comes
without, and clients ask for it. Roles log in with their password. DATABASE_NAME, DATABASE_USERNAME and DATABASE_PASSWORD
say what is made in it; its data goes with FOLDER.
"""

from __future__ import annotations

import asyncio
import os
import signal
import socket
import ssl
import struct
import sys
from collections.abc import Awaitable
from contextlib import suppress
from pathlib import Path
from urllib.parse import parse_qs, urlsplit

import psycopg
from psycopg import sql

from livedub.database.embedded_postgres import running_postgres
from livedub.errors import LivedubError
from livedub.media_cache.tls_material import self_signed

_SSL_REQUEST = struct.pack(">ii", 8, 80877103)
_GSS_REQUEST = struct.pack(">ii", 8, 80877104)
_LONGEST_GREETING_S = 30.0
_CHUNK = 65_536
_SOCKET = ".s.PGSQL.5432"
_ACCESS = "local all postgres trust\nlocal all all scram-sha-256\n"


def main() -> int:
    """Serve until SIGTERM; returns the exit code."""
    listener, folder = socket.socket(fileno=int(sys.argv[1])), Path(sys.argv[2])
    # The port is its maker's to close; what it starts must not keep it open.
    listener.set_inheritable(False)
    try:
        with running_postgres(folder, durable=False) as server:
            _prepare(server.url, folder)
            run_dir = parse_qs(urlsplit(server.url).query)["host"][0]
            asyncio.run(_serve(listener, Path(run_dir) / _SOCKET, _tls(folder)))
    except LivedubError as error:
        print(error, file=sys.stderr)  # noqa: T201 - a command's last word
        return 1
    return 0


def _prepare(url: str, folder: Path) -> None:
    name, username = os.environ["DATABASE_NAME"], os.environ["DATABASE_USERNAME"]
    password = os.environ["DATABASE_PASSWORD"]
    with psycopg.connect(url, autocommit=True) as connection:
        role = sql.Identifier(username)
        connection.execute(
            sql.SQL("CREATE ROLE {} LOGIN CREATEDB CREATEROLE PASSWORD {}").format(
                role, sql.Literal(password)
            )
        )
        connection.execute(sql.SQL("CREATE DATABASE {} OWNER {}").format(sql.Identifier(name), role))
        (folder / "data" / "pg_hba.conf").write_text(_ACCESS)
        connection.execute("SELECT pg_reload_conf()")


def _tls(folder: Path) -> ssl.SSLContext:
    material = self_signed(["127.0.0.1"], ["localhost"])
    pair = folder / "server.pem"
    pair.touch(0o600)
    pair.write_bytes(material.privkey_pem + material.fullchain_pem)
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    context.load_cert_chain(pair)
    return context


async def _serve(listener: socket.socket, postgres: Path, tls: ssl.SSLContext) -> None:
    ended = asyncio.Event()
    for number in (signal.SIGTERM, signal.SIGINT):
        asyncio.get_running_loop().add_signal_handler(number, ended.set)

    async def answer(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        with suppress(OSError, asyncio.IncompleteReadError, TimeoutError):
            await _relay(reader, writer, postgres, tls)
        writer.close()

    server = await asyncio.start_server(answer, sock=listener)
    async with server:
        await ended.wait()


async def _relay(
    reader: asyncio.StreamReader, writer: asyncio.StreamWriter, postgres: Path, tls: ssl.SSLContext
) -> None:
    async with asyncio.timeout(_LONGEST_GREETING_S):
        first = await reader.readexactly(8)
        while first == _GSS_REQUEST:
            writer.write(b"N")
            first = await reader.readexactly(8)
        if first != _SSL_REQUEST:
            writer.write(_refusal("this server takes connections over TLS alone"))
            await writer.drain()
            return
        writer.write(b"S")
        await writer.drain()
        await writer.start_tls(tls)
        inner_reader, inner_writer = await asyncio.open_unix_connection(postgres)
    try:
        await _first_of(_copy(reader, inner_writer), _copy(inner_reader, writer))
    finally:
        inner_writer.close()


def _refusal(text: str) -> bytes:
    fields = b"SFATAL\0VFATAL\0C28000\0M" + text.encode() + b"\0\0"
    return b"E" + struct.pack(">i", len(fields) + 4) + fields


async def _copy(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
    while data := await reader.read(_CHUNK):
        writer.write(data)
        await writer.drain()


async def _first_of(*copies: Awaitable[None]) -> None:
    tasks = [asyncio.ensure_future(one) for one in copies]
    try:
        await asyncio.wait(tasks, return_when=asyncio.FIRST_COMPLETED)
    finally:
        for task in tasks:
            task.cancel()
        await asyncio.gather(*tasks, return_exceptions=True)


if __name__ == "__main__":
    sys.exit(main())
