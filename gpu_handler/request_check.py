"""From a request body to an `StsRequest`, or to an error that names the field, the problem and the remedy.

Nothing of what was sent is echoed beyond a field's name and short values, never the audio.
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from typing import Any, cast

from pydantic import ValidationError
from pydantic_core import from_json

from livedub.sts.contract import (
    FRAGMENT_ID_PATTERN,
    KEY_START_LENGTH,
    MAX_AUDIO_BASE64_BYTES,
    MAX_FRAGMENT_MS,
    MAX_GLOSSARY_CHARACTERS,
    MAX_GLOSSARY_TERMS,
    MAX_WANTED_SPEECH,
    ErrorCode,
    Stage,
    StsError,
    StsRequest,
)
from livedub.sts.payload import AudioPayloadError, check_payload

_GLOSSARY_REMEDY = (
    f"Send an object of at most {MAX_GLOSSARY_TERMS} terms and their translations, {MAX_GLOSSARY_CHARACTERS} "
    "characters together, or leave it out."
)

REMEDIES: dict[str, str] = {
    "": "Send one JSON object, an StsRequest.",
    "schema_version": "Send 1, or leave it out.",
    "fragment_id": "Send '<stream_id>/<generation>/<sequence_number>'.",
    "stream_id": "Send 1 to 64 letters, digits, '_' or '-'.",
    "generation": "Send the generation of the stream's lease, an integer from 0.",
    "sequence_number": "Send the fragment's number in its generation, an integer from 0.",
    "deadline_ms": "Send the milliseconds left for the answer, an integer from 1 to 120000.",
    "audio": "Send an object with format, sample_rate_hz, channels, duration_ms and data_base64.",
    "audio.format": "Send 'flac' or 'pcm_s16le'.",
    "audio.sample_rate_hz": "Send an integer from 8000 to 48000.",
    "audio.channels": "Send 1 or 2.",
    "audio.duration_ms": f"Send the audio's length, an integer from 1 to {MAX_FRAGMENT_MS}.",
    "audio.data_base64": f"Send the audio as standard base64, at most {MAX_AUDIO_BASE64_BYTES} characters.",
    "speech": "Send a list of at most 64 {start_ms, end_ms} inside the fragment, or leave it out.",
    "speech.start_ms": "Send an integer from 0, milliseconds from the fragment's start.",
    "speech.end_ms": "Send an integer after start_ms, milliseconds from the fragment's start.",
    "config": "Send an object with source_language and targets.",
    "config.source_language": "Send an ISO 639 code in lower case, such as 'es', or 'auto'.",
    "config.targets": "Send a list of 1 to 16 {language, voice}, each language once.",
    "config.targets.language": "Send an ISO 639 code in lower case, such as 'en'.",
    "config.targets.voice": "Send a voice id such as 'en/af_heart', or leave it out.",
    "config.targets.glossary": _GLOSSARY_REMEDY,
    "config.glossary": _GLOSSARY_REMEDY,
    "config.context": "Send at most 2000 characters of what was said before, or leave it out.",
    "config.wanted_speech": (
        f"Send at most {MAX_WANTED_SPEECH} starts of cache keys, {KEY_START_LENGTH} hexadecimal digits each, or leave it out."
    ),
    "config.max_overflow_ms": "Send an integer from 0 to 2000, or leave it out.",
}

_LONGEST_PROBLEM = 300
_LONGEST_NAME = 40
_MISSING = "missing"
_UNKNOWN_FIELD = "extra_forbidden"


class RequestRefusedError(Exception):
    """A request that cannot be worked on; `fragment_id` is empty where the body did not yield one."""

    def __init__(self, error: StsError, fragment_id: str = "") -> None:
        super().__init__(error.message)
        self.error = error
        self.fragment_id = fragment_id


def refused(
    code: ErrorCode, message: str, *, stage: Stage = Stage.INPUT, retryable: bool = False
) -> RequestRefusedError:
    """A refusal with the contract's error inside."""
    return RequestRefusedError(StsError(stage=stage, code=code, message=message, retryable=retryable))


def parse_request(body: bytes) -> StsRequest:
    """The request in `body`.

    Raises:
        RequestRefusedError: INVALID_INPUT or DURATION_MISMATCH.
    """
    try:
        request = StsRequest.model_validate_json(body, strict=True)
    except ValidationError as error:
        refusal = refused(ErrorCode.INVALID_INPUT, _explain(error))
        refusal.fragment_id = _fragment_id_in(body)
        raise refusal from error
    try:
        check_payload(request.audio, field="audio")
    except AudioPayloadError as error:
        refusal = refused(error.code, str(error))
        refusal.fragment_id = request.fragment_id
        raise refusal from error
    return request


def check_languages(request: StsRequest, languages: Mapping[str, tuple[str, ...]]) -> None:
    """Refuse a request of which no target can be dubbed; `languages` maps a source to its targets.

    Where some can, the answer is partial: one impossible language costs the others nothing.

    Raises:
        RequestRefusedError: UNSUPPORTED_LANGUAGE.
    """
    source = request.config.source_language
    if source == "auto":
        possible = {target for targets in languages.values() for target in targets}
    else:
        possible = set(languages.get(source, ()))
    wanted = [target.language for target in request.config.targets]
    if possible.isdisjoint(wanted):
        names = ", ".join(repr(language) for language in wanted)
        refusal = refused(
            ErrorCode.UNSUPPORTED_LANGUAGE,
            f"config.targets: no dubbing from {source!r} into {names} here. "
            f"Choose one of: {describe_pairs(languages)}.",
        )
        refusal.fragment_id = request.fragment_id
        raise refusal


def describe_pairs(languages: Mapping[str, tuple[str, ...]]) -> str:
    """Every pair in words, sources with the same targets together: "en fr into es it; es into en"."""
    sources: dict[tuple[str, ...], list[str]] = {}
    for source in sorted(languages):
        if languages[source]:
            sources.setdefault(tuple(sorted(languages[source])), []).append(source)
    groups = (f"{' '.join(names)} into {' '.join(targets)}" for targets, names in sources.items())
    return "; ".join(groups) or "none"


def _explain(error: ValidationError) -> str:
    details = error.errors(include_input=False, include_url=False)
    first = details[0]
    path = [str(part)[:_LONGEST_NAME] for part in first["loc"]]
    name = ".".join(path)
    # A list whose only item is wrong is reported as too short as well: that is the same problem.
    others = sum(detail["loc"] != first["loc"][: len(detail["loc"])] for detail in details)
    more = f" ({others} more problem{'s' if others > 1 else ''})" if others else ""
    if first["type"] == _UNKNOWN_FIELD:
        return f"{name} is unknown. Remove it.{more}"
    problem = "is missing" if first["type"] == _MISSING else _problem(first["msg"])
    return f"{name or 'request'}: {problem}. {_remedy(path)}{more}"


def _remedy(path: list[str]) -> str:
    """That of the field, or of the nearest one around it: a glossary's terms have none of their own."""
    names = [part for part in path if not part.isdigit()]
    known = (".".join(names[:length]) for length in range(len(names), -1, -1))
    return next(REMEDIES[field] for field in known if field in REMEDIES)


def _problem(message: str) -> str:
    text = message.removeprefix("Value error, ")
    return text if len(text) <= _LONGEST_PROBLEM else f"{text[:_LONGEST_PROBLEM]}..."


def _fragment_id_in(body: bytes) -> str:
    """The id a refused body names, so that its sender can match the answer; empty where there is none."""
    try:
        document: Any = from_json(body, cache_strings=False)
    except ValueError:
        return ""
    if not isinstance(document, dict):
        return ""
    value = cast("dict[str, Any]", document).get("fragment_id")
    return value if isinstance(value, str) and re.fullmatch(FRAGMENT_ID_PATTERN, value) else ""
