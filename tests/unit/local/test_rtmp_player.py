"""The player against a server that speaks RTMP by the letter of the specification, corner cases included."""

import asyncio
import struct
from collections.abc import Awaitable, Callable

import pytest
from hypothesis import given
from hypothesis import strategies as st

from local import rtmp_player
from local.rtmp_player import RtmpError, RtmpMessage, RtmpPlayer, StreamAbsentError
from local.rtmp_url import RtmpAddress

Script = Callable[["Peer"], Awaitable[None]]


def amf_string(text: str) -> bytes:
    return b"\x02" + struct.pack(">H", len(text)) + text.encode()


def amf_number(value: float) -> bytes:
    return b"\x00" + struct.pack(">d", value)


def status(code: str) -> bytes:
    information = b"\x03" + struct.pack(">H", 4) + b"code" + amf_string(code) + b"\x00\x00\x09"
    return amf_string("onStatus") + amf_number(0) + b"\x05" + information


def header(form: int, csid: int, stamp: int, length: int = 0, type_id: int = 0) -> bytes:
    field = min(stamp, 0xFFFFFF).to_bytes(3, "big")
    extended = stamp.to_bytes(4, "big") if stamp >= 0xFFFFFF else b""
    sizes = length.to_bytes(3, "big") + bytes([type_id])
    rest = {0: field + sizes + b"\x01\0\0\0", 1: field + sizes, 2: field, 3: b""}[form]
    return bytes([form << 6 | csid]) + rest + extended


class Peer:
    """The server's end of one connection; sends chunks exactly as told."""

    def __init__(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        self._reader = reader
        self._writer = writer
        self.received = b""

    async def handshake(self) -> None:
        await self._reader.readexactly(1 + 1536)
        self._writer.write(b"\x03" + b"s" * 1536 + b"t" * 1536)
        assert await self._reader.readexactly(1536) == b"s" * 1536

    async def until(self, text: bytes) -> None:
        while text not in self.received:
            data = await self._reader.read(4096)
            assert data, f"the player left before it sent {text!r}"
            self.received += data

    async def left(self) -> None:
        try:
            while await self._reader.read(4096):
                pass
        except ConnectionError:
            pass

    def send(self, data: bytes) -> None:
        self._writer.write(data)

    def message(self, type_id: int, body: bytes, *, stamp: int = 0, csid: int = 3) -> None:
        assert len(body) <= 128
        self.send(header(0, csid, stamp, len(body), type_id) + body)

    async def accept_play(self) -> None:
        await self.handshake()
        await self.until(b"connect")
        self.message(20, amf_string("_result") + amf_number(1) + b"\x05\x05")
        await self.until(b"createStream")
        self.message(20, amf_string("_result") + amf_number(2) + b"\x05" + amf_number(1))
        await self.until(b"demo/in")


async def play(script: Script, *, timeout_s: float = 5.0) -> list[RtmpMessage]:
    """Everything a player gets from a server that follows `script` and then closes."""
    failure: list[BaseException] = []

    async def serve(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        try:
            await script(Peer(reader, writer))
            await writer.drain()
        except (AssertionError, asyncio.IncompleteReadError) as error:
            failure.append(error)
        finally:
            writer.close()

    async with await asyncio.start_server(serve, "127.0.0.1", 0) as server:
        port = server.sockets[0].getsockname()[1]
        try:
            async with RtmpPlayer(
                RtmpAddress("127.0.0.1", port, "live", "demo/in"), timeout_s=timeout_s
            ) as player:
                return [message async for message in player.messages()]
        finally:
            if failure:
                raise failure[0]


async def test_messages_come_whole_and_in_order_with_their_times():
    async def script(peer: Peer) -> None:
        await peer.accept_play()
        peer.message(18, b"meta")
        peer.send(header(0, 6, 1_000, 300, 9) + b"v" * 128)
        peer.send(header(0, 4, 1_010, 3, 8) + b"aac")  # interleaved between two chunks of the picture
        peer.send(b"\xc6" + b"w" * 128 + b"\xc6" + b"x" * 44)
        peer.send(header(1, 4, 21, 2, 8) + b"aa")
        peer.send(header(2, 4, 22) + b"bb")
        peer.send(b"\xc4" + b"cc")  # the same length, type and delta again

    messages = await play(script)
    assert [(m.type_id, m.timestamp_ms, m.body) for m in messages] == [
        (18, 0, b"meta"),
        (8, 1_010, b"aac"),
        (9, 1_000, b"v" * 128 + b"w" * 128 + b"x" * 44),
        (8, 1_031, b"aa"),
        (8, 1_053, b"bb"),
        (8, 1_075, b"cc"),
    ]
    stamps = [message.utc_ns for message in messages]
    assert stamps == sorted(stamps)


async def test_times_past_the_24_bit_field_are_read_with_their_extension():
    first = 0xFFFFFF + 5

    async def script(peer: Peer) -> None:
        await peer.accept_play()
        extension = first.to_bytes(4, "big")
        peer.send(header(0, 6, first, 200, 9) + b"v" * 128 + b"\xc6" + extension + b"w" * 72)
        peer.send(header(1, 6, 33, 1, 9) + b"x")
        peer.send(header(0, 6, 0xFFFFFFF0, 1, 9) + b"y")
        peer.send(header(2, 6, 0x20) + b"z")  # 2^32 ms have passed: the clock starts over

    messages = await play(script)
    assert [(m.timestamp_ms, len(m.body)) for m in messages] == [
        (first, 200),
        (first + 33, 1),
        (0xFFFFFFF0, 1),
        (0x10, 1),
    ]


async def test_a_larger_chunk_size_is_obeyed_and_a_ping_answered():
    async def script(peer: Peer) -> None:
        await peer.accept_play()
        peer.message(1, (4096).to_bytes(4, "big"), csid=2)
        peer.message(4, struct.pack(">HI", 6, 77), csid=2)
        peer.send(header(0, 6, 0, 3_000, 9) + b"v" * 3_000)
        await peer.until(struct.pack(">HI", 7, 77))

    assert [len(message.body) for message in await play(script)] == [3_000]


async def test_large_chunk_stream_ids_are_read():
    async def script(peer: Peer) -> None:
        await peer.accept_play()
        peer.send(b"\x00\x0a" + header(0, 0, 5, 1, 9)[1:] + b"x")
        peer.send(b"\x01\x0a\x01" + header(0, 0, 6, 1, 9)[1:] + b"y")

    assert [(m.timestamp_ms, m.body) for m in await play(script)] == [(5, b"x"), (6, b"y")]


async def test_what_is_received_is_acknowledged():
    async def script(peer: Peer) -> None:
        await peer.accept_play()
        peer.message(5, (1_000).to_bytes(4, "big"), csid=2)
        for _ in range(10):
            peer.message(9, b"v" * 120, csid=6)
        await peer.until(b"\x00\x00\x04\x03")  # length 4, type 3: an acknowledgement

    assert len(await play(script)) == 10


@pytest.mark.parametrize("code", ["NetStream.Play.UnpublishNotify", "NetStream.Play.Stop"])
async def test_the_end_of_the_stream_ends_the_messages(code: str):
    async def script(peer: Peer) -> None:
        await peer.accept_play()
        peer.message(9, b"picture")
        peer.message(20, status(code))
        peer.message(9, b"never read")

    assert [message.body for message in await play(script)] == [b"picture"]


async def test_an_absent_stream_is_told_from_a_broken_server():
    async def absent(peer: Peer) -> None:
        await peer.accept_play()
        peer.message(20, status("NetStream.Play.StreamNotFound"))

    with pytest.raises(StreamAbsentError, match=r"live/demo/in: NetStream\.Play\.StreamNotFound"):
        await play(absent)

    async def broken(peer: Peer) -> None:
        await peer.accept_play()
        peer.message(20, b"\x11 something in AMF3")

    with pytest.raises(RtmpError, match="type 0x11"):
        await play(broken)


async def test_a_server_that_falls_silent_is_left():
    async def script(peer: Peer) -> None:
        await peer.accept_play()
        await peer.left()

    with pytest.raises(TimeoutError):
        await play(script, timeout_s=0.3)


async def test_nobody_listening_is_an_absent_stream():
    with pytest.raises(StreamAbsentError, match="does not answer"):
        async with RtmpPlayer(RtmpAddress("127.0.0.1", 1, "live", "demo/in"), timeout_s=2):
            pass


@given(st.binary(max_size=60))
def test_a_malformed_command_is_an_error_and_nothing_worse(body: bytes):
    try:
        values = rtmp_player._amf_values(body)
    except RtmpError:
        return
    assert isinstance(values, list)
