"""A Marian-like CTranslate2 model of a few kilobytes with random weights, made without torch."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import sentencepiece
from ctranslate2.specs import attention_spec, common_spec, transformer_spec
from ctranslate2.specs.model_spec import LayerSpec

CORPUS = [
    "The police have closed three streets near the stadium.",
    "Twenty thousand people are expected at the harbour tonight.",
    "Good evening everyone and welcome to our live broadcast.",
]
_WIDTH = 16


def build_marian(folder: Path, seed: int = 0) -> Path:
    """source.spm, target.spm and the model, as a conversion leaves them."""
    folder.mkdir(parents=True)
    corpus = folder / "corpus.txt"
    corpus.write_text("\n".join(CORPUS * 20))
    sentencepiece.SentencePieceTrainer.train(  # pyright: ignore[reportAttributeAccessIssue]
        input=str(corpus),
        model_prefix=str(folder / "source"),
        vocab_size=80,
        hard_vocab_limit=False,
        minloglevel=2,
    )
    (folder / "source.model").rename(folder / "source.spm")
    (folder / "target.spm").write_bytes((folder / "source.spm").read_bytes())
    processor: Any = sentencepiece.SentencePieceProcessor(model_file=str(folder / "source.spm"))
    pieces = [processor.id_to_piece(number) for number in range(processor.get_piece_size())]
    tokens = ["</s>", "<unk>", *(piece for piece in pieces if piece not in ("<s>", "</s>", "<unk>"))]
    spec: Any = transformer_spec.TransformerSpec.from_config((1, 1), 2)
    filler = _Filler(seed, len(tokens))
    filler.fill(spec.encoder)
    filler.fill(spec.decoder)
    spec.register_source_vocabulary(tokens)
    spec.register_target_vocabulary(tokens)
    spec.config.eos_token, spec.config.unk_token = "</s>", "<unk>"
    spec.config.decoder_start_token = "</s>"  # noqa: S105
    spec.validate()
    spec.save(str(folder))
    return folder


class _Filler:
    """Random numbers for every part of a specification, found by the part's type."""

    def __init__(self, seed: int, words: int) -> None:
        self._random = np.random.default_rng(seed)
        self._words = words
        self._by_type = {
            attention_spec.MultiHeadAttentionSpec: self._attention,
            transformer_spec.FeedForwardSpec: self._feed_forward,
            common_spec.LayerNormSpec: self._norm,
            common_spec.EmbeddingsSpec: self._embeddings,
            common_spec.LinearSpec: lambda part: self._linear(part, self._words),
            transformer_spec.PositionEncoderSpec: self._positions,
        }

    def fill(self, part: Any) -> None:
        """Fill `part` and all that is in it."""
        if type(part) in self._by_type:
            self._by_type[type(part)](part)
            return
        inner = part if isinstance(part, list) else vars(part).values() if isinstance(part, LayerSpec) else ()
        for one in list(inner):
            self.fill(one)

    def _values(self, *shape: int) -> Any:
        return self._random.normal(0, 0.5, shape).astype(np.float32)

    def _linear(self, part: Any, rows: int, columns: int = _WIDTH) -> None:
        part.weight, part.bias = self._values(rows, columns), self._values(rows)

    def _attention(self, part: Any) -> None:
        # query, key and value lie in one matrix; a decoder's look at the encoder has the query apart
        for linear, matrices in zip(part.linear, (3, 1) if len(part.linear) == 2 else (1, 2, 1), strict=True):
            self._linear(linear, matrices * _WIDTH)
        self._norm(part.layer_norm)

    def _feed_forward(self, part: Any) -> None:
        self._linear(part.linear_0, 2 * _WIDTH)
        self._linear(part.linear_1, _WIDTH, 2 * _WIDTH)
        self._norm(part.layer_norm)

    def _norm(self, part: Any) -> None:
        part.gamma, part.beta = np.ones(_WIDTH, np.float32), np.zeros(_WIDTH, np.float32)

    def _embeddings(self, part: Any) -> None:
        part.weight = self._values(self._words, _WIDTH)

    def _positions(self, part: Any) -> None:
        part.encodings = self._values(512, _WIDTH)
