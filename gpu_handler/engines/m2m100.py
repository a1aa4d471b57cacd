"""M2M100 and NLLB by transformers: one model for every pair of its languages."""

from __future__ import annotations

from collections.abc import Hashable
from typing import Any

from gpu_handler.engines import translation_models
from gpu_handler.engines.base import Sentence
from gpu_handler.engines.hugging_face import HuggingFaceTranslator, Seq2SeqModel
from gpu_handler.engines.translation_models import Family, Pair, TranslationModel, language_tokens
from livedub.errors import ConfigurationError


class M2M100Translator(HuggingFaceTranslator):
    """A hundred languages, MIT."""

    name = "m2m100"
    family = Family.M2M100
    default_model = translation_models.M2M100_DEFAULT

    _tokens: dict[str, str]

    def find_models(self) -> list[TranslationModel]:
        """The model that `STS_MT_MODEL` names, if it is of this family.

        Raises:
            ConfigurationError: it is of another.
        """
        model = translation_models.multilingual_model(self._settings, self.default_model)
        if model.family is not self.family:
            raise ConfigurationError(
                f"STS_MT_MODEL: {model.name} is a model of the {model.family.value} family.",
                remedy=f"Set STS_TRANSLATOR to that, or STS_MT_MODEL to a model of {self.family.value}.",
            )
        return [model]

    def pairs_of(self, model: TranslationModel, ready: Seq2SeqModel) -> list[Pair]:
        """Each language that the tokenizer has a token for, to every other."""
        del model
        tokenizer = ready.tokenizer
        known = getattr(tokenizer, "lang_token_to_id", None) or tokenizer.all_special_tokens
        self._tokens = language_tokens(self.family, known)
        return [(source, target) for source in self._tokens for target in self._tokens if source != target]

    def batch_key(self, sentence: Sentence) -> Hashable:
        """The tokenizer writes one source language at a time, the decoder starts with one target language."""
        return sentence.source, sentence.target

    def generation(self, model: Seq2SeqModel, sentence: Sentence) -> dict[str, Any]:
        """Tell the tokenizer the source language and the decoder the target language."""
        target = self._tokens[sentence.target]
        model.tokenizer.src_lang = self._tokens[sentence.source].strip("_")
        return {"forced_bos_token_id": model.tokenizer.convert_tokens_to_ids(target)}


class NllbTranslator(M2M100Translator):
    """Two hundred languages, for non-commercial use only."""

    name = "nllb"
    family = Family.NLLB
    default_model = translation_models.NLLB_DEFAULT
