"""Every way to get a request wrong that its schema can tell, and those that only a person can think of.

What the schema tells is generated from it: a new field of the contract is covered without a new line here.
"""

from __future__ import annotations

import base64
import json
import struct
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from functools import cache, partial
from typing import Any

import numpy as np

from livedub.audio.codec import encode_audio
from livedub.sts.contract import Audio, AudioFormat, ErrorCode, StsRequest

RATE_HZ = 16_000
FRAGMENT_MS = 1_000

Json = Any
Change = Callable[[Json], None]

_A_VALUE_OF = {
    "null": None, "boolean": True, "integer": 3, "number": 3.0, "string": "3", "array": ["3"], "object": {"3": 3},
}  # fmt: skip


@dataclass(frozen=True, slots=True)
class BadInput:
    """A good request with one thing wrong, and how it must be refused; the message matches `says`."""

    name: str
    change: Change
    says: str
    code: ErrorCode = ErrorCode.INVALID_INPUT
    needs_work: bool = field(default=False)
    """Only the pipeline can tell: no engine may run for it, but it takes its turn in the queue."""

    def document(self) -> Json:
        """The request as JSON values."""
        made = good_document()
        self.change(made)
        return made

    def body(self) -> bytes:
        """The request as an HTTP body; NaN goes out as the bare word that careless encoders write."""
        return json.dumps(self.document()).encode()


def good_document() -> Json:
    """A request that is worked on, with every optional field present."""
    return {
        "schema_version": 1,
        "fragment_id": "stadium/3/7",
        "stream_id": "stadium",
        "generation": 3,
        "sequence_number": 7,
        "deadline_ms": 60_000,
        "audio": audio_document(),
        "speech": [{"start_ms": 0, "end_ms": FRAGMENT_MS}],
        "config": {
            "source_language": "es",
            "targets": [{"language": "en", "voice": "en/mock", "glossary": {"gol": "goal"}}],
            "glossary": {"gol": "goal"},
            "context": "Buenas noches.",
            "wanted_speech": ["0123456789abcdef"],
            "max_overflow_ms": 0,
        },
    }


def cases() -> list[BadInput]:
    """All of them; names are unique."""
    return [*_from_the_schema(), *beyond_the_schema()]


def beyond_the_schema() -> list[BadInput]:
    """Those that the schema does not tell."""
    return [*_between_fields(), *_audio(), *_languages()]


# --- from the schema -------------------------------------------------------------------------------------------------


def _from_the_schema() -> Iterator[BadInput]:
    schema = StsRequest.model_json_schema()
    yield from _object(schema, schema, ())


def _object(schema: Json, node: Json, path: tuple[str | int, ...]) -> Iterator[BadInput]:
    """What can be wrong with an object and everything in it."""
    yield _put((*path, "prority"), 1, "unknown")
    for name, inner in node.get("properties", {}).items():
        if name in node.get("required", ()):
            yield _remove((*path, name))
        yield from _value(schema, inner, (*path, name))


def _value(schema: Json, node: Json, path: tuple[str | int, ...]) -> Iterator[BadInput]:
    node = _resolved(schema, node)
    types = _types(node)
    for kind, value in _A_VALUE_OF.items():
        if kind not in types and not (kind == "integer" and "number" in types):
            yield _put(path, value, f"type {kind}")
    for problem, value in _outside(node):
        yield _put(path, value, problem)
    if types & {"integer", "number"}:
        for value in ("NaN", "Infinity"):
            yield BadInput(f"{_dotted(path)} {value}", _putter(path, float(value)), _dotted(path))
    if "properties" in node:
        yield from _object(schema, node, path)
    elif "object" in types and isinstance(node.get("additionalProperties"), dict):
        yield from _value(schema, node["additionalProperties"], (*path, "gol"))
    if "items" in node:
        yield from _value(schema, node["items"], (*path, 0))


def _resolved(schema: Json, node: Json) -> Json:
    while "$ref" in node:
        node = schema["$defs"][node["$ref"].rsplit("/", 1)[1]]
    return node


def _types(node: Json) -> set[str]:
    if "anyOf" in node:
        return {kind for one in node["anyOf"] for kind in _types(one)}
    if "type" in node:
        return {node["type"]}
    return {
        "string" if isinstance(value, str) else "integer" for value in node.get("enum", [node.get("const")])
    }


def _outside(node: Json) -> Iterator[tuple[str, Json]]:
    """Values of the right type that the schema rules out."""
    outside: dict[str, Callable[[Json], list[tuple[str, Json]]]] = {
        "minimum": lambda bound: [("below", bound - 1)],
        "exclusiveMinimum": lambda bound: [("at the bound", bound)],
        "maximum": lambda bound: [("above", bound + 1), ("far above", 10**400)],
        "exclusiveMaximum": lambda bound: [("at the bound", bound)],
        "const": lambda only: [("another", only + 1)],
        "enum": lambda _: [("unknown", "nonesuch")],
        "minLength": lambda least: [("empty", "")] if least else [],
        "maxLength": lambda most: [("long", "A" * (most + 1))],
        "pattern": lambda _: [
            ("odd", "a b"), ("line", "en\n"), ("not ASCII", "español"), ("endless", "a" * 100_000)
        ],
        "minItems": lambda least: [("empty", [])] if least else [],
        "maxItems": lambda most: [("long", [_an_item(node)] * (most + 1))],
        "maxProperties": lambda most: [("long", {f"term {number}": "" for number in range(most + 1)})],
    }  # fmt: skip
    for rule, values in outside.items():
        if rule in node:
            yield from values(node[rule])


def _an_item(node: Json) -> Json:
    names = node["items"].get("$ref", "")
    return {"start_ms": 0, "end_ms": 1} if names.endswith("Span") else {"language": "en"}


# --- what the schema does not tell -----------------------------------------------------------------------------------


def _between_fields() -> Iterator[BadInput]:
    yield _put(("fragment_id",), "stadium/3/8", "of another fragment")
    yield _put(("fragment_id",), "other/3/7", "of another stream")
    yield BadInput("generation beyond 64 bits", _putter(("generation",), 2**64), "fragment_id")
    yield BadInput("sequence_number of 4000 digits", _putter(("sequence_number",), 10**4_000), "fragment_id")
    yield BadInput("speech backwards", _putter(("speech", 0), {"start_ms": 5, "end_ms": 5}), "speech.0")
    yield BadInput("speech after the end", _putter(("speech", 0, "end_ms"), FRAGMENT_MS + 1), "end_ms")
    yield BadInput("a language twice", _putter(("config", "targets"), [{"language": "en"}] * 2), "targets")
    yield BadInput("a foreign voice", _putter(("config", "targets", 0, "voice"), "es/mock"), "voice")
    change = _putter(("config", "targets", 0, "voice"), "en/nobody")
    yield BadInput("a voice nobody has", change, "voice", needs_work=True)
    for value in ("", "ES", "español", "spanish", "es\n", "e" * 100_000):
        yield _put(("config", "source_language"), value, f"of {len(value)} {value[:8]!r}")
    long = {"a" * 5_000: "b" * 5_000}
    many = {f"{number:04}": "b" * 21 for number in range(400)}
    for name, glossary in (("10,000 characters", long), ("10,000 characters in 400 terms", many)):
        yield BadInput(f"glossary of {name}", _putter(("config", "glossary"), glossary), "glossary")
        yield BadInput(
            f"target's glossary of {name}",
            _putter(("config", "targets", 0, "glossary"), glossary),
            "glossary",
        )


def _languages() -> Iterator[BadInput]:
    for source, target in (("es", "ja"), ("ja", "en"), ("auto", "ja"), ("en", "en")):
        config = {"source_language": source, "targets": [{"language": target}]}
        spoken = r"\bde\b.*\ben\b.*\bpt\b" if source != "en" else r"\bde\b.*\bes\b.*\bpt\b"
        yield BadInput(
            f"from {source} into {target}",
            _putter(("config",), config),
            spoken,
            ErrorCode.UNSUPPORTED_LANGUAGE,
        )


def _audio() -> Iterator[BadInput]:
    """Audio that is not what it says. NaN has no place in 16-bit PCM or FLAC: it comes as the floats of another format."""
    mismatch = ErrorCode.DURATION_MISMATCH
    yield _sound("not base64", "audio.data_base64", data_base64="not base64!")
    yield _sound("base64 cut off", "audio.data_base64", data_base64="AAAAA")
    yield _sound("base64 with a blank", "audio.data_base64", data_base64="AAAA AAAA")
    yield _sound("base64 of the URL alphabet", "audio.data_base64", data_base64="_-_-" * 8_000)
    yield _sound("text as FLAC", "audio.data_base64", data=b"Ceci n'est pas du son. " * 500, format="flac")
    yield _sound("text as PCM", "audio.duration_ms", mismatch, data=b"Ceci n'est pas du son. " * 500)
    yield _sound("half a sample", "audio.data_base64", data=bytes(2 * RATE_HZ + 1))
    yield _sound("nothing", "audio.data_base64", data=b"")
    yield _sound("0 s of FLAC", "audio.data_base64", data=flac(FRAGMENT_MS)[:42], format="flac")
    yield _sound("0 s declared", "audio.duration_ms", data=b"", duration_ms=0)
    yield _sound("60 s", "audio.duration_ms", data=bytes(2 * RATE_HZ * 60), duration_ms=60_000)
    yield _sound(
        "60 s that say 30", "audio.duration_ms", mismatch, data=bytes(2 * RATE_HZ * 60), duration_ms=30_000
    )
    yield _sound("96 kHz", "audio.sample_rate_hz", data=bytes(2 * 96_000), sample_rate_hz=96_000)
    yield _sound(
        "96 kHz that say 48",
        "audio",
        data=with_head(flac(FRAGMENT_MS), rate_hz=96_000),
        format="flac",
        sample_rate_hz=48_000,
    )
    yield _sound("6 channels", "audio.channels", data=bytes(2 * 6 * RATE_HZ), channels=6)
    yield _sound("6 channels of FLAC", "audio", data=with_head(flac(FRAGMENT_MS), channels=6), format="flac")
    yield _sound("NaN floats as PCM", "audio.duration_ms", mismatch, data=nan_floats(RATE_HZ))
    yield _sound("NaN floats in WAV", "audio.data_base64", data=_wav(nan_floats(RATE_HZ)), format="flac")
    yield from _broken_flac()


def _broken_flac() -> Iterator[BadInput]:
    """FLAC whose head is right: only decoding shows what is wrong with it."""
    whole = flac(FRAGMENT_MS)
    damaged = bytearray(whole)
    damaged[len(whole) // 2 : len(whole) // 2 + 4_000] = bytes(4_000)
    mismatch = ErrorCode.DURATION_MISMATCH
    for name, data, declared_ms, says, code in (
        ("cut in half", whole[: len(whole) // 2], FRAGMENT_MS, "audio", None),
        ("cut at its end", whole[:-10], FRAGMENT_MS, "audio", None),
        ("overwritten in the middle", bytes(damaged), FRAGMENT_MS, "audio.duration_ms", mismatch),
        (
            "that says half its length",
            with_head(whole, samples=RATE_HZ // 2),
            500,
            "audio.duration_ms",
            mismatch,
        ),
        (
            "that says twice its length",
            with_head(whole, samples=RATE_HZ * 2),
            2_000,
            "audio.duration_ms",
            mismatch,
        ),
        (
            "of unknown length, wrongly declared",
            with_head(whole, samples=0),
            3_000,
            "audio.duration_ms",
            mismatch,
        ),
        ("of an hour that says 1 s", hour_of_silence(), FRAGMENT_MS, "audio.duration_ms", mismatch),
    ):
        audio = audio_document(data, format="flac", duration_ms=declared_ms)
        change = partial(_replace_audio, audio=audio)
        yield BadInput(f"FLAC {name}", change, says, code or ErrorCode.INVALID_INPUT, needs_work=True)


def _replace_audio(made: Json, *, audio: Json) -> None:
    """Without the spans of the audio that was there."""
    made["audio"] = audio
    del made["speech"]


# --- material --------------------------------------------------------------------------------------------------------


def audio_document(data: bytes | None = None, **fields: Json) -> Json:
    """The `audio` object around `data`: a second of 16 kHz mono PCM unless said otherwise."""
    data = tone_pcm() if data is None else data
    return {
        "format": "pcm_s16le",
        "sample_rate_hz": RATE_HZ,
        "channels": 1,
        "duration_ms": FRAGMENT_MS,
        "data_base64": base64.b64encode(data).decode("ascii"),
        **fields,
    }


@cache
def tone_pcm() -> bytes:
    return (8_000 * np.sin(np.arange(RATE_HZ * FRAGMENT_MS // 1_000) / 5)).astype("<i2").tobytes()


@cache
def flac(duration_ms: int) -> bytes:
    """Noise, which no encoder shortens much: cutting the file cuts sound."""
    noise = np.random.default_rng(1).normal(0, 0.1, RATE_HZ * duration_ms // 1_000).astype(np.float32)
    return base64.b64decode(encode_audio(noise, RATE_HZ, AudioFormat.FLAC).data_base64)


@cache
def hour_of_silence() -> bytes:
    """700 kB that unpack to 115 MB, under a head that promises a second."""
    half_minute = base64.b64decode(_silence().data_base64)
    head, frames = half_minute[: _first_frame(half_minute)], half_minute[_first_frame(half_minute) :]
    return with_head(head + frames * 120, samples=RATE_HZ)


def _silence() -> Audio:
    return encode_audio(np.zeros(30 * RATE_HZ, np.float32), RATE_HZ, AudioFormat.FLAC)


def _first_frame(stream: bytes) -> int:
    """Where the metadata blocks end (RFC 9639, section 8)."""
    position, last = 4, False
    while not last:
        last = bool(stream[position] & 0x80)
        position += 4 + int.from_bytes(stream[position + 1 : position + 4], "big")
    return position


def with_head(
    stream: bytes, *, rate_hz: int | None = None, channels: int | None = None, samples: int | None = None
) -> bytes:
    """The FLAC stream with other words in its STREAMINFO: 20 bits rate, 3 channels - 1, 5 depth - 1, 36 samples."""
    packed = int.from_bytes(stream[18:26], "big")
    for value, position, width in (
        (rate_hz, 44, 20),
        (None if channels is None else channels - 1, 41, 3),
        (samples, 0, 36),
    ):
        if value is not None:
            packed = packed & ~(((1 << width) - 1) << position) | value << position
    return stream[:18] + packed.to_bytes(8, "big") + stream[26:]


def nan_floats(count: int) -> bytes:
    """What a capture in 32-bit float sends when its gain was 0/0."""
    return struct.pack("<f", float("nan")) * count


def _wav(data: bytes) -> bytes:
    head = struct.pack("<4sI4s4sIHHIIHH4sI", b"RIFF", 36 + len(data), b"WAVE", b"fmt ", 16, 3, 1, RATE_HZ, 4 * RATE_HZ,
                       4, 32, b"data", len(data))  # fmt: skip
    return head + data


def _sound(
    name: str,
    says: str,
    code: ErrorCode = ErrorCode.INVALID_INPUT,
    *,
    data: bytes = b"",
    **fields: Json,
) -> BadInput:
    return BadInput(name, _putter(("audio",), audio_document(data, **fields)), says, code)


# --- changes ---------------------------------------------------------------------------------------------------------


def _put(path: tuple[str | int, ...], value: Json, problem: str) -> BadInput:
    return BadInput(f"{_dotted(path)} {problem}", _putter(path, value), _dotted(path))


def _remove(path: tuple[str | int, ...]) -> BadInput:
    def remove(made: Json) -> None:
        del _at(made, path[:-1])[path[-1]]

    return BadInput(f"{_dotted(path)} missing", remove, _dotted(path))


def _putter(path: tuple[str | int, ...], value: Json) -> Change:
    def put(made: Json) -> None:
        _at(made, path[:-1])[path[-1]] = value

    return put


def _at(made: Json, path: tuple[str | int, ...]) -> Json:
    for part in path:
        made = made[part]
    return made


def _dotted(path: tuple[str | int, ...]) -> str:
    return ".".join(str(part) for part in path)
