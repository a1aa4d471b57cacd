"""What a made clip really contains: its script, reference translation and stems. Written with the clip."""

from __future__ import annotations

from pathlib import Path

from pydantic import BaseModel, ConfigDict, ValidationError

from livedub.errors import InvalidInputError
from livedub.timeline.clock import Span


class _Entry(BaseModel):
    model_config = ConfigDict(extra="forbid", frozen=True)


class ReferenceSpan(_Entry):
    """A stretch of uninterrupted speech; nanoseconds of clip time, from first to last sound."""

    start_ns: int
    end_ns: int
    text: str

    @property
    def span(self) -> Span:
        """The stretch alone."""
        return Span(self.start_ns, self.end_ns)


class ReferenceSentence(_Entry):
    """One sentence of the script as it is spoken in the clip, with a translation by a person."""

    voice: str
    text: str
    translation: str
    start_ns: int
    end_ns: int
    spans: tuple[ReferenceSpan, ...]


class Stems(_Entry):
    """Files beside the reference: 48 kHz stereo, sample 0 at clip time 0; their sum is the clip's sound."""

    speech: str
    music: str


class ClipReference(_Entry):
    """clip.reference.json. `speech_to_music_db` compares the stems where speech sounds; gains are already in them."""

    kind: str
    seconds: float
    source_language: str
    target_language: str
    speech_to_music_db: float | None
    speech_gain_db: float
    music_gain_db: float
    stems: Stems
    sentences: tuple[ReferenceSentence, ...]


def read_reference(path: Path) -> ClipReference:
    """Read a clip.reference.json.

    Raises:
        InvalidInputError: the file cannot be read or is no reference.
    """
    remedy = "Give the clip.reference.json that was made with the clip."
    try:
        return ClipReference.model_validate_json(path.read_bytes())
    except OSError as error:
        raise InvalidInputError(f"{path} cannot be read: {error}.", remedy=remedy) from error
    except ValidationError as error:
        first = error.errors()[0]
        field = ".".join(str(part) for part in first["loc"])
        raise InvalidInputError(f"{path}: field {field}: {first['msg']}.", remedy=remedy) from error
