"""Translation by transformers: the reference path, for models that CTranslate2 does not take and for comparison.

Only local files are read; whatever a model's folder lacks is an error, never a download.
"""

from __future__ import annotations

import threading
from abc import ABC, abstractmethod
from collections.abc import Hashable, Sequence
from pathlib import Path
from typing import Any

from gpu_handler.engines import licences
from gpu_handler.engines.base import EngineInfo, Sentence, Translation
from gpu_handler.engines.batches import in_groups
from gpu_handler.engines.hypotheses import Hypothesis, Search, choose, score_per_token
from gpu_handler.engines.translation_models import Pair, TranslationModel, checked
from gpu_handler.settings import StsSettings
from livedub.errors import MissingPrerequisiteError

_LONGEST_SOURCE = 500
_LONGEST_TARGET = 500
"""Tokens: what the models' 512 positions hold; one more is an IndexError."""

_EXTRA_TOKENS = 12
_TOKENS_PER_TOKEN = 2


class Seq2SeqModel:
    """A transformers encoder-decoder and its tokenizer, on the device that the settings name."""

    def __init__(self, folder: Path, settings: StsSettings) -> None:
        """Load both.

        Raises:
            MissingPrerequisiteError: a library is missing, or the folder holds no such model.
        """
        try:
            import torch  # pyright: ignore[reportMissingImports] - heavy
            from transformers import (  # pyright: ignore[reportMissingImports]
                AutoModelForSeq2SeqLM,
                AutoTokenizer,
            )
        except ImportError as error:
            raise MissingPrerequisiteError(
                f"the translator needs a library that is not installed: {error}.",
                remedy="Run setup/torch_environment.sh and start with .venv-torch/bin/python, or set "
                "STS_TRANSLATOR=ctranslate2.",
            ) from error
        half = settings.mt_device == "cuda" and "float16" in settings.mt_compute_type
        try:
            self.tokenizer: Any = AutoTokenizer.from_pretrained(str(folder), local_files_only=True)
            model: Any = AutoModelForSeq2SeqLM.from_pretrained(str(folder), local_files_only=True)
            self._model: Any = (model.half() if half else model).to(settings.mt_device).eval()
        except (OSError, ValueError, RuntimeError) as error:
            raise MissingPrerequisiteError(
                f"{folder} holds no model that transformers loads on {settings.mt_device}: {error}.",
                remedy="Fetch the model again, or check STS_MT_DEVICE.",
            ) from error
        self._torch: Any = torch

    def search(self, texts: Sequence[str], search: Search, **generation: Any) -> list[list[Hypothesis]]:
        """Every text's hypotheses, from one batch."""
        encoded = self.tokenizer(
            list(texts), return_tensors="pt", padding=True, truncation=True, max_length=_LONGEST_SOURCE
        ).to(self._model.device)
        longest = min(_LONGEST_TARGET, _EXTRA_TOKENS + _TOKENS_PER_TOKEN * encoded["input_ids"].shape[1])
        with self._torch.inference_mode():
            found = self._model.generate(
                **encoded,
                num_beams=search.beam_size,
                num_return_sequences=search.beam_size,
                length_penalty=search.length_penalty,
                min_new_tokens=1 + len(generation),  # the text's first token, behind the language's
                max_new_tokens=longest,
                suppress_tokens=[self.tokenizer.unk_token_id],
                do_sample=False,
                output_scores=True,
                return_dict_in_generate=True,
                **generation,
            )
        # a greedy search is not scored by itself, and its one hypothesis needs no score
        scores = found.sequences_scores.tolist() if search.beam_size > 1 else [0.0] * len(texts)
        rendered = self.tokenizer.batch_decode(found.sequences, skip_special_tokens=True)
        padding = self.tokenizer.pad_token_id
        hypotheses = []
        for text, tokens, score in zip(rendered, found.sequences.tolist(), scores, strict=True):
            count = sum(token != padding for token in tokens)
            hypotheses.append(
                Hypothesis(
                    text.strip(),
                    score_per_token(score, count, search.length_penalty),
                    finished=count < longest,
                )
            )
        size = search.beam_size
        return [hypotheses[at : at + size] for at in range(0, len(hypotheses), size)]


class HuggingFaceTranslator(ABC):
    """What the translators by transformers share; a subclass finds its models and tells them the languages."""

    name = "transformers"

    def __init__(self, settings: StsSettings) -> None:
        self._settings = settings
        self._found: tuple[TranslationModel, ...] = ()
        self._models: dict[Pair, Seq2SeqModel] = {}
        self._licence = licences.UNKNOWN
        self._lock = threading.Lock()

    @property
    def info(self) -> EngineInfo:
        """Name, models and licence."""
        return EngineInfo(
            self.name,
            ", ".join(model.name for model in self._found) or self._settings.mt_model or self.name,
            self._licence.name,
            max_batch=self._settings.mt_max_batch,
            commercial_use=self._licence.commercial_use,
        )

    @property
    def shortens(self) -> bool:
        """By a wider beam that prefers short hypotheses."""
        return True

    def load(self) -> None:
        """Load every model and translate a word with each.

        Raises:
            ConfigurationError: a model's licence forbids commercial use.
            MissingPrerequisiteError: a model or a library is missing.
        """
        found = self.find_models()
        self._licence = licences.of_all([model.licence for model in found])
        for model in found:
            licences.permit(model.name, model.licence, self._settings)
        loaded: dict[Pair, Seq2SeqModel] = {}
        for model in found:
            ready = Seq2SeqModel(checked(model, self._settings), self._settings)
            pairs = self.pairs_of(model, ready)
            loaded |= dict.fromkeys(pairs, ready)
            source, target = pairs[0]
            self._run(ready, [Sentence("1", source, target)])
        self._found, self._models = tuple(found), loaded

    def close(self) -> None:
        """Free the models."""
        with self._lock:
            self._models = {}

    def pairs(self) -> frozenset[Pair]:
        """What the loaded models translate directly."""
        return frozenset(self._models)

    def translate(self, batch: Sequence[Sentence]) -> list[Translation]:
        """Translate; sentences that one call of a model can take run as one batch.

        The models know one sentence at a time: `Sentence.context` is not used.

        Raises:
            KeyError: a pair is not in `pairs()`.
        """
        with self._lock:
            models = self._models
            keys = [
                (id(models[item.source, item.target]), item.brevity, self.batch_key(item)) for item in batch
            ]
            return in_groups(
                batch, keys, lambda group: self._run(models[group[0].source, group[0].target], group)
            )

    def _run(self, model: Seq2SeqModel, batch: Sequence[Sentence]) -> list[Translation]:
        brevity = batch[0].brevity
        spoken = [index for index, sentence in enumerate(batch) if sentence.text.strip()]
        translations = [Translation("")] * len(batch)
        if spoken:
            search = Search.of(brevity, self._settings.mt_beam_size)
            texts = [" ".join(batch[index].text.split()) for index in spoken]
            found = model.search(texts, search, **self.generation(model, batch[0]))
            for index, hypotheses in zip(spoken, found, strict=True):
                translations[index] = choose(hypotheses, brevity)
        return translations

    @abstractmethod
    def find_models(self) -> list[TranslationModel]:
        """The models to load, at least one."""

    @abstractmethod
    def pairs_of(self, model: TranslationModel, ready: Seq2SeqModel) -> list[Pair]:
        """The pairs that a model translates."""

    def batch_key(self, sentence: Sentence) -> Hashable:
        """What sentences of one model must share to run as one batch; here, nothing."""
        del sentence
        return None

    def generation(self, model: Seq2SeqModel, sentence: Sentence) -> dict[str, Any]:
        """Prepare the tokenizer for a batch like `sentence`; the further arguments of `generate`, here none."""
        del model, sentence
        return {}
