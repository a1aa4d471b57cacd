"""Plays one RTMP stream and hands out its messages untouched, with the wall clock of their arrival.

It is a measuring instrument: a demuxing library looks at the first seconds before it hands out a packet, so its
first arrival times are late and a track that starts later is missed; and it rewrites timestamps to its own taste.
Follows the Adobe RTMP specification 1.0; section numbers below are its. Enough of the protocol to play a live
stream, no more.
"""

from __future__ import annotations

import asyncio
import struct
import time
from collections.abc import AsyncIterator
from dataclasses import dataclass, field

from livedub.errors import LivedubError
from local.rtmp_url import RtmpAddress

_VERSION = 3
_HANDSHAKE_BYTES = 1536
_INITIAL_CHUNK_BYTES = 128
_EXTENDED_TIMESTAMP = 0xFFFFFF
_MAX_MESSAGE_BYTES = 16 * 1024 * 1024
_WINDOW_BYTES = 2_500_000

_SET_CHUNK_SIZE = 1
_ABORT = 2
_ACKNOWLEDGEMENT = 3
_USER_CONTROL = 4
_WINDOW_ACKNOWLEDGEMENT_SIZE = 5
_AUDIO = 8
_VIDEO = 9
_DATA_AMF0 = 18
_COMMAND_AMF0 = 20
_AGGREGATE = 22

_STREAM_EOF = 1
_SET_BUFFER_LENGTH = 3
_PING_REQUEST = 6
_PING_RESPONSE = 7

_CONTROL_CHUNK_STREAM = 2
_COMMAND_CHUNK_STREAM = 3

_REFUSALS = ("NetStream.Play.StreamNotFound", "NetStream.Play.Failed", "NetConnection.Connect.Rejected")
_ENDINGS = ("NetStream.Play.UnpublishNotify", "NetStream.Play.Stop", "NetStream.Play.Complete")


class RtmpError(LivedubError):
    """The server refused the stream or spoke something else than RTMP."""


class StreamAbsentError(RtmpError):
    """Nobody publishes that stream now; trying again later may help."""


@dataclass(frozen=True, slots=True)
class RtmpMessage:
    """An audio (8), video (9) or data (18) message: the body of one FLV tag.

    `utc_ns` is the wall clock when its last byte had been read.
    """

    type_id: int
    timestamp_ms: int
    body: bytes
    utc_ns: int


@dataclass(slots=True)
class _ChunkStream:
    """What the headers of one chunk stream left implied (5.3.1.2)."""

    timestamp_ms: int = 0
    delta_ms: int = 0
    extended: bool = False
    length: int = 0
    type_id: int = 0
    body: bytearray = field(default_factory=bytearray)


class _MessageReader:
    """Puts messages together from interleaved chunks (5.3)."""

    def __init__(self, reader: asyncio.StreamReader) -> None:
        self._reader = reader
        self._streams: dict[int, _ChunkStream] = {}
        self.chunk_bytes = _INITIAL_CHUNK_BYTES
        self.received_bytes = 0

    async def _read(self, count: int) -> bytes:
        data = await self._reader.readexactly(count)
        self.received_bytes += count
        return data

    async def _int(self, count: int) -> int:
        return int.from_bytes(await self._read(count), "big")

    async def message(self) -> RtmpMessage:
        """Return the next whole message."""
        while True:
            stream = await self._chunk()
            if len(stream.body) == stream.length:
                body = bytes(stream.body)
                stream.body.clear()
                return RtmpMessage(stream.type_id, stream.timestamp_ms, body, time.time_ns())

    def abort(self, chunk_stream_id: int) -> None:
        """Drop the partly received message of a chunk stream (5.4.2)."""
        if chunk_stream_id in self._streams:
            self._streams[chunk_stream_id].body.clear()

    async def _chunk(self) -> _ChunkStream:
        basic = await self._int(1)
        chunk_stream_id = basic & 0x3F
        if chunk_stream_id == 0:
            chunk_stream_id = 64 + await self._int(1)
        elif chunk_stream_id == 1:
            low, high = await self._read(2)
            chunk_stream_id = 64 + low + 256 * high
        stream = self._streams.setdefault(chunk_stream_id, _ChunkStream())
        await self._header(stream, basic >> 6)
        if stream.length > _MAX_MESSAGE_BYTES:
            raise RtmpError(f"The server announced a message of {stream.length} bytes.")
        stream.body += await self._read(min(self.chunk_bytes, stream.length - len(stream.body)))
        return stream

    async def _header(self, stream: _ChunkStream, form: int) -> None:
        if form == 3:
            if stream.extended:  # repeated before every chunk of the message (5.3.1.3)
                await self._read(4)
            if not stream.body:
                stream.timestamp_ms = (stream.timestamp_ms + stream.delta_ms) & 0xFFFFFFFF
            return
        stamp = await self._int(3)
        if form <= 1:
            stream.length = await self._int(3)
            stream.type_id = await self._int(1)
        if form == 0:
            await self._read(4)  # message stream id: this connection plays one stream only
        stream.extended = stamp == _EXTENDED_TIMESTAMP
        if stream.extended:
            stamp = await self._int(4)
        if form == 0:
            # By the letter (5.3.1.2.4) a type 3 chunk that starts a message right after this one takes the
            # absolute time for its delta; nginx takes zero, which is the only reading that makes sense.
            stream.timestamp_ms, stream.delta_ms = stamp, 0
        else:
            stream.timestamp_ms = (stream.timestamp_ms + stamp) & 0xFFFFFFFF
            stream.delta_ms = stamp
        stream.body.clear()


class RtmpPlayer:
    """An async context manager around one connection that plays `address`.

    `timeout_s` bounds connecting, the commands' answers and every silence of the stream.
    """

    def __init__(self, address: RtmpAddress, *, timeout_s: float = 10.0) -> None:
        self._address = address
        self._timeout_s = timeout_s
        self._writer: asyncio.StreamWriter | None = None
        self._messages: _MessageReader | None = None
        self._window_bytes = _WINDOW_BYTES
        self._acknowledged_bytes = 0

    async def __aenter__(self) -> RtmpPlayer:
        try:
            await asyncio.wait_for(self._open(), self._timeout_s)
        except (OSError, EOFError) as error:
            await self._close()
            raise StreamAbsentError(
                f"{self._address.tc_url} does not answer as an RTMP server: {error}."
            ) from error
        except BaseException:
            await self._close()
            raise
        return self

    async def __aexit__(self, *_: object) -> None:
        await self._close()

    async def messages(self) -> AsyncIterator[RtmpMessage]:
        """Yield audio, video and data messages until the stream or the connection ends.

        Raises:
            StreamAbsentError: the server says that nobody publishes.
            TimeoutError: nothing came for `timeout_s`.
        """
        while True:
            try:
                message = await asyncio.wait_for(self._next(), self._timeout_s)
            except (EOFError, ConnectionError):
                return
            if message.type_id in (_AUDIO, _VIDEO, _DATA_AMF0):
                if message.body:
                    yield message
            elif await self._ended_by(message):
                return

    async def _open(self) -> None:
        address = self._address
        reader, self._writer = await asyncio.open_connection(address.host, address.port)
        self._messages = _MessageReader(reader)
        await self._handshake(reader, self._writer)
        self._send(
            _COMMAND_AMF0,
            _amf("connect", 1.0, {"app": address.app, "flashVer": "LNX 9,0,124,2", "tcUrl": address.tc_url}),
        )
        await self._answer(1.0)
        self._send(_COMMAND_AMF0, _amf("createStream", 2.0, None))
        stream_id = (await self._answer(2.0))[3]
        if not isinstance(stream_id, float):
            raise RtmpError(f"createStream answered {stream_id!r} instead of a stream id.")
        self._send(_COMMAND_AMF0, _amf("play", 3.0, None, address.playpath, -1000.0), int(stream_id))
        buffer_ms = 0  # what is sent is wanted at once
        self._send(_USER_CONTROL, struct.pack(">HII", _SET_BUFFER_LENGTH, int(stream_id), buffer_ms))
        await self._writer.drain()

    async def _handshake(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        """The simple handshake (5.2): C0 C1, S0 S1 S2, C2 = S1."""
        writer.write(bytes([_VERSION]) + bytes(_HANDSHAKE_BYTES))
        version, *_ = await reader.readexactly(1)
        if version != _VERSION:
            raise RtmpError(f"{self._address.tc_url} answered the handshake with version {version}.")
        server_hello = await reader.readexactly(_HANDSHAKE_BYTES)
        writer.write(server_hello)
        await reader.readexactly(_HANDSHAKE_BYTES)

    async def _answer(self, transaction: float) -> list[object]:
        while True:
            message = await self._next()
            if message.type_id != _COMMAND_AMF0:
                await self._ended_by(message)
                continue
            values = _amf_values(message.body)
            self._raise_refusal(values)
            if values[:2] == ["_error", transaction]:
                raise RtmpError(f"{self._address.tc_url} refused a command: {values[2:]}.")
            if values[:2] == ["_result", transaction]:
                return values

    async def _next(self) -> RtmpMessage:
        """Return the next message that is not about the connection itself."""
        if self._messages is None:
            raise RuntimeError("RtmpPlayer is used outside its context")
        while True:
            message = await self._messages.message()
            received = self._messages.received_bytes
            if received - self._acknowledged_bytes >= self._window_bytes // 2:
                self._acknowledged_bytes = received
                self._send(_ACKNOWLEDGEMENT, struct.pack(">I", received & 0xFFFFFFFF))
            if message.type_id == _SET_CHUNK_SIZE:
                self._messages.chunk_bytes = max(1, int.from_bytes(message.body[:4], "big") & 0x7FFFFFFF)
            elif message.type_id == _ABORT:
                self._messages.abort(int.from_bytes(message.body[:4], "big"))
            elif message.type_id == _WINDOW_ACKNOWLEDGEMENT_SIZE:
                self._window_bytes = max(2, int.from_bytes(message.body[:4], "big"))
            else:
                return message

    async def _ended_by(self, message: RtmpMessage) -> bool:
        """Act on a control or command message; True when it says that the stream is over."""
        if message.type_id == _AGGREGATE:
            raise RtmpError("The server sends aggregate messages, which nothing here reads.")
        if message.type_id == _USER_CONTROL and len(message.body) >= 6:
            event, value = struct.unpack(">HI", message.body[:6])
            if event == _PING_REQUEST:
                self._send(_USER_CONTROL, struct.pack(">HI", _PING_RESPONSE, value))
            return event == _STREAM_EOF
        if message.type_id == _COMMAND_AMF0:
            values = _amf_values(message.body)
            self._raise_refusal(values)
            return _status_code(values) in _ENDINGS
        return False

    def _raise_refusal(self, values: list[object]) -> None:
        code = _status_code(values)
        if code in _REFUSALS:
            raise StreamAbsentError(f"{self._address.tc_url}/{self._address.playpath}: {code}.")

    def _send(self, type_id: int, body: bytes, message_stream_id: int = 0) -> None:
        if self._writer is None:
            raise RuntimeError("RtmpPlayer is used outside its context")
        chunk_stream_id = _COMMAND_CHUNK_STREAM if type_id == _COMMAND_AMF0 else _CONTROL_CHUNK_STREAM
        header = (
            bytes([chunk_stream_id])
            + bytes(3)
            + len(body).to_bytes(3, "big")
            + bytes([type_id])
            + message_stream_id.to_bytes(4, "little")
        )
        continued = bytes([0xC0 | chunk_stream_id])
        chunks = [
            body[start : start + _INITIAL_CHUNK_BYTES] for start in range(0, len(body), _INITIAL_CHUNK_BYTES)
        ]
        self._writer.write(header + continued.join(chunks))

    async def _close(self) -> None:
        if self._writer is None:
            return
        self._writer.transport.abort()  # a player has nothing to flush
        self._writer = None


def _status_code(values: list[object]) -> str:
    """The `code` of an onStatus or _error command's information object (7.2.2)."""
    for value in values:
        if isinstance(value, dict) and isinstance(value.get("code"), str):
            return value["code"]
    return ""


def _amf(*values: object) -> bytes:
    """Encode what this client sends in AMF0: strings, numbers, null and flat objects."""
    encoded = bytearray()
    for value in values:
        if isinstance(value, str):
            encoded += b"\x02" + struct.pack(">H", len(value.encode())) + value.encode()
        elif isinstance(value, float):
            encoded += struct.pack(">Bd", 0, value)
        elif isinstance(value, dict):
            encoded += b"\x03"
            for key, item in value.items():
                encoded += struct.pack(">H", len(key)) + key.encode() + _amf(item)
            encoded += b"\x00\x00\x09"
        else:
            encoded += b"\x05"
    return bytes(encoded)


def _amf_values(body: bytes) -> list[object]:
    """Decode a command's AMF0 values.

    Raises:
        RtmpError: truncated, or a type that no command uses.
    """
    values: list[object] = []
    position = 0
    try:
        while position < len(body):
            value, position = _amf_value(body, position)
            values.append(value)
    except (struct.error, IndexError, UnicodeDecodeError) as error:
        raise RtmpError(f"The server sent a malformed command: {error}.") from error
    return values


def _amf_value(body: bytes, position: int) -> tuple[object, int]:
    marker = body[position]
    position += 1
    if marker == 0x00:
        return struct.unpack_from(">d", body, position)[0], position + 8
    if marker == 0x01:
        return body[position] != 0, position + 1
    if marker == 0x02:
        return _amf_string(body, position)
    if marker in (0x03, 0x08):
        return _amf_object(body, position + (4 if marker == 0x08 else 0))
    if marker in (0x05, 0x06):
        return None, position
    raise RtmpError(f"The server sent an AMF0 value of type 0x{marker:02x}, which no command uses.")


def _amf_string(body: bytes, position: int) -> tuple[str, int]:
    (length,) = struct.unpack_from(">H", body, position)
    end = position + 2 + length
    return body[position + 2 : end].decode(), end


def _amf_object(body: bytes, position: int) -> tuple[dict[str, object], int]:
    values: dict[str, object] = {}
    while True:
        key, position = _amf_string(body, position)
        if not key and body[position] == 0x09:
            return values, position + 1
        values[key], position = _amf_value(body, position)
