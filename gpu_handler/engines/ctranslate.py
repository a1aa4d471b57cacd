"""Translation through CTranslate2: OPUS-MT, M2M100 or NLLB in int8, without torch while it runs.

Sentences of many streams go through the model as one batch; its beam also yields the alternatives that a dub is
shortened with. Models are taken in CTranslate2's own format, or converted on first use.
"""

from __future__ import annotations

import threading
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

from gpu_handler.engines import licences
from gpu_handler.engines.base import EngineInfo, Sentence, Translation
from gpu_handler.engines.batches import in_groups
from gpu_handler.engines.convert import converted
from gpu_handler.engines.ctranslate2_models import check_model
from gpu_handler.engines.hypotheses import Hypothesis, Search, choose, score_per_token
from gpu_handler.engines.pieces import SentencePieces
from gpu_handler.engines.translation_models import (
    MARIAN_FILES,
    MULTILINGUAL_FILES,
    Family,
    Pair,
    TranslationModel,
    checked,
    language_tokens,
    marian_models,
    multilingual_model,
    special_tokens,
    vocabulary,
)
from gpu_handler.settings import StsSettings
from livedub.errors import MissingPrerequisiteError

_END = "</s>"
_LONGEST_SOURCE = 500
_LONGEST_TARGET = 500
"""Pieces: what the models' 512 positions hold. A fragment of speech has a tenth of it."""

_EXTRA_PIECES = 12
_PIECES_PER_PIECE = 2
"""A translation longer than twice its source and a little is a model that repeats itself."""


@dataclass(frozen=True, slots=True)
class _Loaded:
    """A model ready to run. `tokens` names the languages of a multilingual one, `special` is no text."""

    translator: Any
    pieces: SentencePieces
    tokens: dict[str, str]
    special: frozenset[str]

    def source(self, sentence: Sentence) -> list[str]:
        """What the encoder reads: the text, and the source language where the model wants to be told."""
        pieces = self.pieces.split(sentence.text)[:_LONGEST_SOURCE]
        language = [self.tokens[sentence.source]] if self.tokens else []
        return [*language, *pieces, _END]

    def prefix(self, sentence: Sentence) -> list[str]:
        """What the decoder starts from: the target language, if anything."""
        return [self.tokens[sentence.target]] if self.tokens else []


class CTranslateTranslator:
    """One OPUS-MT model per pair, or the one multilingual model that `STS_MT_MODEL` names."""

    def __init__(self, settings: StsSettings) -> None:
        self._settings = settings
        self._models: dict[Pair, _Loaded] = {}
        self._names: tuple[str, ...] = ()
        self._licence = licences.UNKNOWN
        self._lock = threading.Lock()

    @property
    def info(self) -> EngineInfo:
        """Name, models and licence."""
        model = ", ".join(self._names) or self._settings.mt_model or "opus-mt"
        return EngineInfo(
            "ctranslate2",
            model,
            self._licence.name,
            max_batch=self._settings.mt_max_batch,
            commercial_use=self._licence.commercial_use,
        )

    @property
    def shortens(self) -> bool:
        """By a wider beam that prefers short hypotheses."""
        return True

    def load(self) -> None:
        """Load every model, converting what is not in CTranslate2's format, and translate a word with each.

        Raises:
            ConfigurationError: a model's licence forbids commercial use.
            MissingPrerequisiteError: a model or a library is missing.
        """
        models = self._found()
        self._licence = licences.of_all([model.licence for model in models])
        self._names = tuple(model.name for model in models)
        for model in models:
            licences.permit(model.name, model.licence, self._settings)
        loaded: dict[Pair, _Loaded] = {}
        for model in models:
            ready = self._load(model)
            pairs = [model.pair] if model.pair else _all_pairs(ready.tokens)
            loaded |= dict.fromkeys(pairs, ready)
            source, target = pairs[0]
            self._run(ready, 0, [Sentence("1", source, target)])
        self._models = loaded

    def close(self) -> None:
        """Free the models."""
        with self._lock:
            self._models = {}

    def pairs(self) -> frozenset[Pair]:
        """What the loaded models translate directly; nothing is routed through a third language here."""
        return frozenset(self._models)

    def translate(self, batch: Sequence[Sentence]) -> list[Translation]:
        """Translate; sentences of one model and one brevity run as one batch.

        The models know one sentence at a time: `Sentence.context` is not used.

        Raises:
            KeyError: a pair is not in `pairs()`.
        """
        with self._lock:
            models = self._models
            keys = [(id(models[item.source, item.target]), item.brevity) for item in batch]
            return in_groups(
                batch,
                keys,
                lambda group: self._run(models[group[0].source, group[0].target], group[0].brevity, group),
            )

    def _found(self) -> list[TranslationModel]:
        if self._settings.mt_model:
            return [multilingual_model(self._settings, self._settings.mt_model)]
        return list(marian_models(self._settings).values())

    def _load(self, model: TranslationModel) -> _Loaded:
        try:
            import ctranslate2
        except ImportError as error:
            raise MissingPrerequisiteError(
                f"the translator needs a library that is not installed: {error}.",
                remedy="Install the `sts-cpu` extra.",
            ) from error
        folder = converted(checked(model, self._settings), self._settings.mt_compute_type)
        device, compute_type = self._settings.mt_device, self._settings.mt_compute_type
        check_model(ctranslate2, folder, device, compute_type, variables="STS_MT")
        try:
            translator = ctranslate2.Translator(
                str(folder),
                device=device,
                compute_type=compute_type,
                intra_threads=self._settings.threads,
            )
        except (RuntimeError, ValueError) as error:
            raise MissingPrerequisiteError(
                f"{folder} cannot be loaded on {device} as {compute_type}: {error}.",
                remedy="Check STS_MT_DEVICE and STS_MT_COMPUTE_TYPE, or fetch the model again.",
            ) from error
        names = (
            MARIAN_FILES if model.family is Family.MARIAN else (MULTILINGUAL_FILES[0], MULTILINGUAL_FILES[0])
        )
        pieces = SentencePieces(folder / names[0], folder / names[1])
        listed = vocabulary(folder)
        tokens = {} if model.family is Family.MARIAN else language_tokens(model.family, listed)
        return _Loaded(translator, pieces, tokens, special_tokens(listed))

    def _run(self, model: _Loaded, brevity: int, batch: Sequence[Sentence]) -> list[Translation]:
        search = Search.of(brevity, self._settings.mt_beam_size)
        spoken = [index for index, sentence in enumerate(batch) if sentence.text.strip()]
        translations = [Translation("")] * len(batch)
        if not spoken:
            return translations
        sources = [model.source(batch[index]) for index in spoken]
        prefixes = [model.prefix(batch[index]) for index in spoken]
        results = model.translator.translate_batch(
            sources,
            target_prefix=prefixes if any(prefixes) else None,
            beam_size=search.beam_size,
            num_hypotheses=search.beam_size,
            length_penalty=search.length_penalty,
            max_input_length=0,
            max_decoding_length=min(
                _LONGEST_TARGET, _EXTRA_PIECES + _PIECES_PER_PIECE * max(map(len, sources))
            ),
            return_scores=True,
            return_end_token=True,
            disable_unk=True,
        )
        for index, prefix, result in zip(spoken, prefixes, results, strict=True):
            hypotheses = [
                self._hypothesis(model, pieces[len(prefix) :], score, search)
                for pieces, score in zip(result.hypotheses, result.scores, strict=True)
            ]
            translations[index] = choose(hypotheses, brevity)
        return translations

    @staticmethod
    def _hypothesis(model: _Loaded, pieces: list[str], score: float, search: Search) -> Hypothesis:
        finished = bool(pieces) and pieces[-1] == _END
        text = model.pieces.join([piece for piece in pieces if piece not in model.special])
        return Hypothesis(text, score_per_token(score, len(pieces), search.length_penalty), finished)


def _all_pairs(tokens: dict[str, str]) -> list[Pair]:
    return [(source, target) for source in tokens for target in tokens if source != target]
