"""Writers of one key at once, over HTTPS: the last one wins, whole, and no reader ever sees a mixture."""

import http.client
import threading
from concurrent.futures import ThreadPoolExecutor

import pytest

from .media_rig import MediaHost, Reply, auth, exchange, path_of

WRITERS = 6
TURNS = 12
SIZE = 60_000
PATH = path_of("one key")


def connection(host: MediaHost) -> http.client.HTTPSConnection:
    return http.client.HTTPSConnection("127.0.0.1", host.port, timeout=60, context=host.context())


def write(host: MediaHost, letter: str) -> list[int]:
    own = connection(host)
    try:
        body = letter.encode() * SIZE
        return [exchange(own, "PUT", PATH, body, auth()).status for _ in range(TURNS)]
    finally:
        own.close()


def read_until(host: MediaHost, written: threading.Event) -> list[Reply]:
    """What a reader saw from before the end of the writing until after it."""
    own = connection(host)
    seen: list[Reply] = []
    try:
        while True:
            last = written.is_set()
            seen.append(exchange(own, "GET", PATH))
            if last:
                return seen
    finally:
        own.close()


@pytest.mark.slow
def test_the_last_writer_wins_and_nothing_is_torn(host: MediaHost):
    written = threading.Event()
    letters = [chr(ord("a") + number) for number in range(WRITERS)]
    with ThreadPoolExecutor(WRITERS + 2) as pool:
        readers = [pool.submit(read_until, host, written) for _ in range(2)]
        try:
            answered = list(pool.map(lambda letter: write(host, letter), letters))
        finally:
            written.set()
        seen = [reply for reader in readers for reply in reader.result(120)]
    statuses = [status for turns in answered for status in turns]
    assert sorted(statuses) == [201] + [204] * (WRITERS * TURNS - 1)
    whole = {letter.encode() * SIZE for letter in letters}
    assert all(reply.body in whole for reply in seen if reply.status == 200)
    assert {reply.status for reply in seen} <= {200, 404}
    assert seen[-1].body == host.file(PATH).read_bytes()
