"""Faults on request, for tests of everything behind the service: late, failing, lying and silent answers."""

from __future__ import annotations

import base64
import re
import zlib
from dataclasses import dataclass
from enum import Enum

from livedub.errors import ConfigurationError
from livedub.sts.contract import (
    Audio,
    AudioFormat,
    Dub,
    ErrorCode,
    Stage,
    Status,
    StsError,
    StsResult,
    Transcript,
)

_RULE = re.compile(
    r"^(?:\*|(?P<first>\d+)(?:-(?P<last>\d+))?):(?P<action>[a-z_]+)"
    r"(?:%(?P<percent>\d{1,2}(?:\.\d{1,3})?|100))?(?::(?P<ms>\d+))?$"
)
_GARBAGE = base64.b64encode(b"this is no audio " * 16).decode("ascii")
_DEFAULT_STALL_MS = 6_000


class Fault(str, Enum):
    """What can be made to go wrong: with fragments, and (the last three) with single calls of the mock engines."""

    DELAY = "delay"
    STALL = "stall"
    ERROR = "error"
    GARBAGE = "garbage"
    NAN = "nan"
    WRONG_LENGTH = "wrong_length"
    EMPTY = "empty"
    CRASH = "crash"
    OOM = "oom"
    HANG = "hang"


_OF_ENGINES = frozenset({Fault.CRASH, Fault.OOM, Fault.HANG})
_WITH_DEFAULT_WAIT = frozenset({Fault.STALL, Fault.HANG})


@dataclass(frozen=True, slots=True)
class FaultRule:
    """A fault for the numbers `first` to `last` (None: no end): sequence numbers, or an engine's calls from 1.

    It strikes `percent` of them, always the same ones.
    """

    fault: Fault
    first: int
    last: int | None
    wait_ms: int
    percent: float = 100.0

    def covers(self, number: int, name: str = "") -> bool:
        """Whether the rule strikes this fragment, or this call of the engine `name`."""
        if number < self.first or (self.last is not None and number > self.last):
            return False
        draw = zlib.crc32(f"{self.fault.value} {name} {number}".encode()) % 100_000
        return draw < self.percent * 1_000


@dataclass(frozen=True, slots=True)
class FaultScript:
    """Rules in order; the first that covers a fragment counts."""

    rules: tuple[FaultRule, ...] = ()

    @classmethod
    def parse(cls, text: str) -> FaultScript:
        """Read `FROM[-TO]:ACTION[%PERCENT][:MS]` rules separated by commas, `*` for every number.

        Raises:
            ConfigurationError: a rule is malformed or its action unknown.
        """
        return cls(tuple(_rule(part.strip()) for part in text.split(",") if part.strip()))

    def rule_for(self, sequence_number: int, fragment_id: str = "") -> FaultRule | None:
        """The rule for a fragment, None where nothing is to go wrong with it."""
        rules = (rule for rule in self.rules if rule.fault not in _OF_ENGINES)
        return next((rule for rule in rules if rule.covers(sequence_number, fragment_id)), None)

    def rule_for_call(self, engine: str, number: int) -> FaultRule | None:
        """The rule for an engine's call, counted from 1."""
        rules = (rule for rule in self.rules if rule.fault in _OF_ENGINES)
        return next((rule for rule in rules if rule.covers(number, engine)), None)


def _rule(part: str) -> FaultRule:
    match = _RULE.match(part)
    if match is None or match["action"] not in {fault.value for fault in Fault}:
        actions = ", ".join(fault.value for fault in Fault)
        raise ConfigurationError(
            f"STS_MOCK_SCRIPT: {part!r} is no rule.",
            remedy=f"Write FROM[-TO]:ACTION[%PERCENT][:MS]; actions: {actions}.",
        )
    fault = Fault(match["action"])
    wait_ms = int(match["ms"] or (_DEFAULT_STALL_MS if fault in _WITH_DEFAULT_WAIT else 0))
    percent = float(match["percent"] or 100)
    if match["first"] is None:
        return FaultRule(fault, 0, None, wait_ms, percent)
    first = int(match["first"])
    return FaultRule(fault, first, int(match["last"] or first), wait_ms, percent)


def spoil(result: StsResult, fault: Fault) -> StsResult:
    """The answer as the fault leaves it; `delay` and `stall` change only its time."""
    if fault is Fault.ERROR:
        error = StsError(
            stage=Stage.TTS, code=ErrorCode.MODEL_ERROR, message="scripted fault", retryable=True
        )
        return result.model_copy(update={"status": Status.ERROR, "dubs": (), "error": error})
    if fault is Fault.EMPTY:
        language = result.transcript.language if result.transcript else "es"
        dubs = tuple(Dub(language=dub.language, translated_text="") for dub in result.dubs)
        return result.model_copy(update={"transcript": Transcript(text="", language=language), "dubs": dubs})
    return result.model_copy(update={"dubs": tuple(_spoil_dub(dub, fault) for dub in result.dubs)})


def _spoil_dub(dub: Dub, fault: Fault) -> Dub:
    if fault is Fault.NAN:
        return dub.model_copy(update={"tempo": float("nan")})
    if dub.audio is None:
        return dub
    if fault is Fault.GARBAGE:
        audio = dub.audio.model_copy(update={"format": AudioFormat.FLAC, "data_base64": _GARBAGE})
        return dub.model_copy(update={"audio": audio})
    if fault is Fault.WRONG_LENGTH:
        return dub.model_copy(update={"audio": _halved(dub.audio)})
    return dub


def _halved(audio: Audio) -> Audio:
    """Half as long, and saying so: true to itself, yet shorter than the contract allows."""
    data = b"\0\0" * audio.channels * max(1, audio.sample_rate_hz * audio.duration_ms // 2_000)
    return audio.model_copy(
        update={
            "format": AudioFormat.PCM_S16LE,
            "duration_ms": max(1, audio.duration_ms // 2),
            "data_base64": base64.b64encode(data).decode("ascii"),
        }
    )
