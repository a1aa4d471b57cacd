"""Faults on request, for tests of everything behind the service: late, failing, lying and silent answers."""

from __future__ import annotations

import base64
import re
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

_RULE = re.compile(r"^(?:\*|(?P<first>\d+)(?:-(?P<last>\d+))?):(?P<action>[a-z_]+)(?::(?P<ms>\d+))?$")
_GARBAGE = base64.b64encode(b"this is no audio " * 16).decode("ascii")
_DEFAULT_STALL_MS = 6_000


class Fault(str, Enum):
    """What can be made to go wrong."""

    DELAY = "delay"
    STALL = "stall"
    ERROR = "error"
    GARBAGE = "garbage"
    NAN = "nan"
    WRONG_LENGTH = "wrong_length"
    EMPTY = "empty"


@dataclass(frozen=True, slots=True)
class FaultRule:
    """A fault for the sequence numbers `first` to `last` (None: no end)."""

    fault: Fault
    first: int
    last: int | None
    wait_ms: int

    def covers(self, sequence_number: int) -> bool:
        """Whether the rule is about this fragment."""
        return self.first <= sequence_number and (self.last is None or sequence_number <= self.last)


@dataclass(frozen=True, slots=True)
class FaultScript:
    """Rules in order; the first that covers a fragment counts."""

    rules: tuple[FaultRule, ...] = ()

    @classmethod
    def parse(cls, text: str) -> FaultScript:
        """Read `FROM[-TO]:ACTION[:MS]` rules separated by commas, `*` for every fragment.

        Raises:
            ConfigurationError: a rule is malformed or its action unknown.
        """
        return cls(tuple(_rule(part.strip()) for part in text.split(",") if part.strip()))

    def rule_for(self, sequence_number: int) -> FaultRule | None:
        """The rule for a fragment, None where nothing is to go wrong."""
        return next((rule for rule in self.rules if rule.covers(sequence_number)), None)


def _rule(part: str) -> FaultRule:
    match = _RULE.match(part)
    if match is None or match["action"] not in {fault.value for fault in Fault}:
        actions = ", ".join(fault.value for fault in Fault)
        raise ConfigurationError(
            f"STS_MOCK_SCRIPT: {part!r} is no rule.",
            remedy=f"Write FROM[-TO]:ACTION[:MS]; actions: {actions}.",
        )
    fault = Fault(match["action"])
    wait_ms = int(match["ms"] or (_DEFAULT_STALL_MS if fault is Fault.STALL else 0))
    if match["first"] is None:
        return FaultRule(fault, 0, None, wait_ms)
    first = int(match["first"])
    return FaultRule(fault, first, int(match["last"] or first), wait_ms)


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
