"""What a listener understands: speech recognition of the output, and of the dry dubs, against the texts."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass

import numpy as np

from livedub.audio.pcm import PROGRAMME_RATE_HZ, STS_RATE_HZ, Samples
from livedub.audio.resample import resample
from livedub.timeline.clock import NS_PER_MS, NS_PER_S, Span
from livedub.verify.dubs import DryDub
from livedub.verify.events import FragmentEvent
from livedub.verify.evidence import CannotTell, Evidence
from livedub.verify.stems import StemsOnOutput
from livedub.verify.track import AudioTrack
from livedub.verify.words import WordErrors, content_words, recall, tokens, word_errors

Transcribe = Callable[[str, Sequence[Samples]], list[str]]
"""(language, pieces of mono 16 kHz samples, each under 30 s) to the text of each piece; raises `LivedubError`."""

_LONGEST_PIECE_NS = 24 * NS_PER_S
_BREAK_NS = 5 * NS_PER_S
_AROUND_NS = 300 * NS_PER_MS
_PIECE_EDGE = np.zeros(STS_RATE_HZ // 4, dtype=np.float32)


@dataclass(frozen=True, slots=True)
class Piece:
    """A stretch of the output that is transcribed at once, and what was synthesised in it."""

    span: Span
    texts: tuple[str, ...]


@dataclass(frozen=True, slots=True)
class Heard:
    """Transcripts of the pieces, and their errors against what was synthesised."""

    texts: tuple[str, ...]
    errors: WordErrors

    @property
    def text(self) -> str:
        """Everything that was heard."""
        return " ".join(self.texts)


def target_language(evidence: Evidence) -> str:
    """The language that the session dubs into."""
    for event in (*evidence.log.sessions, *evidence.log.fragments):
        if event.target_language:
            return event.target_language
    raise CannotTell("the event log names no target language")


def output_pieces(evidence: Evidence) -> list[Piece]:
    """The output from its first dub to its last, cut between dubs; stretches of 5 s without a dub are left out.

    Raises:
        CannotTell: no dub with a text is in the output.
    """
    shift_ns = evidence.media_to_output_ns
    dubs = [
        (_dub_span(fragment).shifted(shift_ns), fragment.translated_text)
        for fragment, _ in evidence.fragments_on_output()
        if fragment.aired_dub and fragment.translated_text
    ]
    if not dubs:
        raise CannotTell("no dub is in the output")
    groups: list[list[tuple[Span, str]]] = [[dubs[0]]]
    for span, text in dubs[1:]:
        first, last = groups[-1][0][0], groups[-1][-1][0]
        if span.end_ns - first.start_ns > _LONGEST_PIECE_NS or span.start_ns - last.end_ns > _BREAK_NS:
            groups.append([])
        groups[-1].append((span, text))
    pieces: list[Piece] = []
    for index, group in enumerate(groups):
        after = groups[index + 1][0][0].start_ns if index + 1 < len(groups) else None
        before_ns = pieces[-1].span.end_ns if pieces else 0
        end_ns = group[-1][0].end_ns + _AROUND_NS
        if after is not None:
            end_ns = min(end_ns, (group[-1][0].end_ns + after) // 2)
        start_ns = max(group[0][0].start_ns - _AROUND_NS, before_ns)
        pieces.append(Piece(Span(start_ns, max(start_ns, end_ns)), tuple(text for _, text in group)))
    return pieces


def hear_output(evidence: Evidence, transcribe: Transcribe, language: str) -> Heard:
    """Transcribe the output's pieces, music and all."""
    pieces = output_pieces(evidence)
    sounds = [_sound(evidence.output_audio, piece.span) for piece in pieces]
    return _heard(transcribe(language, sounds), [" ".join(piece.texts) for piece in pieces], language)


def hear_dubs(dubs: list[DryDub], transcribe: Transcribe, language: str) -> Heard:
    """Transcribe the dry dubs, one by one.

    Raises:
        CannotTell: no dub has a text.
    """
    spoken = [(dub.samples, dub.fragment.translated_text) for dub in dubs if dub.fragment.translated_text]
    if not spoken:
        raise CannotTell("no dub carries a text")
    sounds = [
        np.concatenate((_PIECE_EDGE, resample(samples, PROGRAMME_RATE_HZ, STS_RATE_HZ), _PIECE_EDGE))
        for samples, _ in spoken
    ]
    return _heard(transcribe(language, sounds), [text for _, text in spoken], language)


def translation_recall(stems: StemsOnOutput, heard: Heard, language: str) -> float:
    """Share of the content words of the reference translation that were heard in the output.

    Sentences count that are due in the recorded output; one that was not dubbed counts as not heard.

    Raises:
        CannotTell: the reference is in another language, or none of its sentences lies in the output.
    """
    if stems.reference.target_language != language:
        raise CannotTell(f"the reference translation is {stems.reference.target_language}, not {language}")
    output = stems.evidence.output_audio
    shift_ns = stems.clip_to_output_ns
    due = [
        sentence.translation
        for sentence in stems.reference.sentences
        if output.start_ns <= sentence.start_ns + shift_ns and sentence.end_ns + shift_ns <= output.end_ns
    ]
    share = recall(content_words(" ".join(due), language), content_words(heard.text, language))
    if share is None:
        raise CannotTell("no sentence of the reference lies in the output")
    return round(share, 4)


def _dub_span(fragment: FragmentEvent) -> Span:
    start_ns = fragment.clip_start_ns if fragment.clip_start_ns is not None else fragment.start_ns
    return Span(start_ns, start_ns + (fragment.dub_duration_ns or fragment.duration_ns))


def _sound(output: AudioTrack, span: Span) -> Samples:
    count = span.duration_ns * PROGRAMME_RATE_HZ // NS_PER_S
    mono = output.slice(span.start_ns, count).mean(axis=1, dtype=np.float32)
    return resample(mono, PROGRAMME_RATE_HZ, STS_RATE_HZ)


def _heard(texts: list[str], expected: list[str], language: str) -> Heard:
    edits = words = 0
    for text, wanted in zip(texts, expected, strict=True):
        errors = word_errors(tokens(wanted, language), tokens(text, language))
        edits += errors.edits
        words += errors.words
    return Heard(tuple(texts), WordErrors(edits, words))
