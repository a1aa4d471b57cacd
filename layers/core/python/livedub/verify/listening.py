"""The figures that need ears: dubs found in the output, the music under them, and what a recogniser understands."""

from __future__ import annotations

from collections.abc import Callable
from functools import cached_property
from pathlib import Path

from livedub.errors import LivedubError
from livedub.verify.dubs import DryDub, dry_dubs
from livedub.verify.evidence import CannotTell, Evidence
from livedub.verify.heard import (
    Heard,
    Transcribe,
    hear_dubs,
    hear_output,
    target_language,
    translation_recall,
)
from livedub.verify.model import OnsetFigures
from livedub.verify.speech import background_si_sdr_db, onset_error
from livedub.verify.stems import StemsOnOutput


class Listening:
    """Each method measures one figure or raises `CannotTell`; what they share is made once."""

    def __init__(self, evidence: Evidence, reference: Path | None, transcribe: Transcribe | None) -> None:
        self._evidence = evidence
        self._reference = reference
        self._transcribe = transcribe
        self._deaf = "no speech recognition was asked for"
        self._heard: dict[str, str] = {}

    def onset_error(self) -> OnsetFigures:
        """How far dubbed onsets lie from where they are due."""
        return onset_error(self._evidence, self._stems, self._dubs)

    def background_si_sdr_db(self) -> float:
        """How well the music survived under the dubs."""
        return background_si_sdr_db(self._evidence, self._stems, self._dubs)

    def translation_recall(self) -> float:
        """How much of the reference translation is heard in the output."""
        stems = self._stems
        return translation_recall(stems, self._output, target_language(self._evidence))

    def mixed_wer(self) -> float:
        """How well the dub is understood in the output's mix."""
        return round(self._output.errors.rate, 4)

    def back_wer(self) -> float:
        """How well the dry dub is understood."""
        return round(self._dry.errors.rate, 4)

    def heard(self) -> dict[str, str]:
        """The transcripts that the figures were made from."""
        return dict(self._heard)

    @cached_property
    def _stems(self) -> StemsOnOutput:
        if self._reference is None:
            raise CannotTell("no clip.reference.json was given: what the clip really contains is not known")
        return StemsOnOutput.read(self._evidence, self._reference)

    @cached_property
    def _dubs(self) -> list[DryDub]:
        return dry_dubs(self._evidence)

    @cached_property
    def _output(self) -> Heard:
        language = target_language(self._evidence)
        heard = self._listened(lambda ask: hear_output(self._evidence, ask, language))
        self._heard["output"] = heard.text
        return heard

    @cached_property
    def _dry(self) -> Heard:
        dubs, language = self._dubs, target_language(self._evidence)
        heard = self._listened(lambda ask: hear_dubs(dubs, ask, language))
        self._heard["dub"] = heard.text
        return heard

    def _listened(self, listen: Callable[[Transcribe], Heard]) -> Heard:
        """Recognise; a recogniser that failed once is not asked again."""
        if self._transcribe is None:
            raise CannotTell(self._deaf)
        try:
            return listen(self._transcribe)
        except LivedubError as error:
            self._transcribe, self._deaf = None, f"speech recognition failed: {error}"
            raise CannotTell(self._deaf) from error
