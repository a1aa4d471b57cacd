"""OPUS-MT (Marian) models by transformers: one per language pair."""

from __future__ import annotations

from gpu_handler.engines.hugging_face import HuggingFaceTranslator, Seq2SeqModel
from gpu_handler.engines.translation_models import Pair, TranslationModel, marian_models


class MarianTranslator(HuggingFaceTranslator):
    """Every `opus-mt-<source>-<target>` there is, or those that `STS_MT_PAIRS` names."""

    name = "marian"

    def find_models(self) -> list[TranslationModel]:
        """One model per pair."""
        return list(marian_models(self._settings).values())

    def pairs_of(self, model: TranslationModel, ready: Seq2SeqModel) -> list[Pair]:
        """The pair that the model's folder is named after."""
        del ready
        return [model.pair] if model.pair else []
