"""Models of the real architectures with random weights, a few hundred kilobytes each, built on the spot.

What they say means nothing; they drive the libraries' real loading, tokenizing, batching and decoding code.
"""

# pyright: reportMissingImports=false, reportAttributeAccessIssue=false
from __future__ import annotations

import json
import shutil
from pathlib import Path
from typing import Any

import sentencepiece
import torch
from transformers import (
    M2M100Config,
    M2M100ForConditionalGeneration,
    M2M100Tokenizer,
    MarianConfig,
    MarianMTModel,
    MarianTokenizer,
    NllbTokenizer,
)

SENTENCES = [
    "Good evening everyone and welcome to our live broadcast from Madrid.",
    "Today we talk about the new football season and the weather on Sunday.",
    "The police have closed three streets near the stadium.",
    "Twenty thousand people are expected at the harbour tonight.",
    "Buenas noches a todos y bienvenidos a nuestra emisión en directo desde Madrid.",
    "Hoy hablamos de la nueva temporada de fútbol y del tiempo del domingo.",
    "La policía ha cerrado tres calles cerca del estadio.",
    "Esta noche se esperan veinte mil personas en el puerto.",
]
"""Enough text to train a tokenizer of two hundred pieces."""

_PIECES = 200
_SHAPE = {
    "d_model": 32,
    "encoder_layers": 2,
    "decoder_layers": 2,
    "encoder_attention_heads": 2,
    "decoder_attention_heads": 2,
    "encoder_ffn_dim": 64,
    "decoder_ffn_dim": 64,
    "max_position_embeddings": 512,
}
_SPREAD = 0.35
"""Of the random weights: with the usual 0.02 every input would give the same output."""


_END_BIAS = 2.0
"""So that some sentences end before the length limit ends them."""


def train_pieces(folder: Path) -> Path:
    """A SentencePiece model of the sentences above."""
    corpus = folder / "corpus.txt"
    corpus.write_text("\n".join(SENTENCES * 20))
    sentencepiece.SentencePieceTrainer.train(
        input=str(corpus),
        model_prefix=str(folder / "pieces"),
        vocab_size=_PIECES,
        character_coverage=1.0,
        hard_vocab_limit=False,
        minloglevel=2,
    )
    return folder / "pieces.model"


def build_marian(
    folder: Path,
    pieces: Path,
    *,
    seed: int = 0,
    vocabulary: int = 0,
    end_bias: float = _END_BIAS,
    **shape: Any,
) -> Path:
    """A Marian model as OPUS-MT publishes them: source.spm, target.spm, vocab.json, config, weights.

    Args:
        folder: to write; must not exist.
        pieces: the SentencePiece model of both languages.
        seed: of the weights.
        vocabulary: pad it to so many words.
        end_bias: how likely a sentence ends at any word; far below zero it never does.
        shape: anything of MarianConfig that is to be larger than tiny.
    """
    folder.mkdir(parents=True)
    for name in ("source.spm", "target.spm"):
        shutil.copy(pieces, folder / name)
    names = ["</s>", "<unk>", *_plain(pieces)]
    names += [f"filler{number}" for number in range(len(names), vocabulary - 1)] + ["<pad>"]
    (folder / "vocab.json").write_text(json.dumps({name: number for number, name in enumerate(names)}))
    tokenizer = MarianTokenizer(
        vocab=str(folder / "vocab.json"),
        source_spm=str(folder / "source.spm"),
        target_spm=str(folder / "target.spm"),
    )
    tokenizer.save_pretrained(folder)
    torch.manual_seed(seed)
    config = MarianConfig(
        vocab_size=len(names),
        pad_token_id=len(names) - 1,
        eos_token_id=0,
        forced_eos_token_id=None,
        decoder_start_token_id=len(names) - 1,
        scale_embedding=True,
        **{"init_std": _SPREAD, **_SHAPE, **shape},
    )
    model = MarianMTModel(config)
    model.final_logits_bias[0, 0] = end_bias
    model.save_pretrained(folder)
    return folder


def build_m2m100(folder: Path, pieces: Path, *, seed: int = 0) -> Path:
    """An M2M100 model with all its language tokens."""
    folder.mkdir(parents=True)
    shutil.copy(pieces, folder / "sentencepiece.bpe.model")
    names = ["<s>", "<pad>", "</s>", "<unk>", *_plain(pieces)]
    (folder / "vocab.json").write_text(json.dumps({name: number for number, name in enumerate(names)}))
    tokenizer = M2M100Tokenizer(
        vocab_file=str(folder / "vocab.json"), spm_file=str(folder / "sentencepiece.bpe.model")
    )
    tokenizer.save_pretrained(folder)
    # the published model lists its language tokens, saving a tokenizer leaves them out
    for name in ("special_tokens_map.json", "tokenizer_config.json"):
        described = json.loads((folder / name).read_text())
        described["additional_special_tokens"] = list(tokenizer.lang_token_to_id)
        (folder / name).write_text(json.dumps(described))
    torch.manual_seed(seed)
    config = M2M100Config(vocab_size=m2m100_vocabulary_size(tokenizer), init_std=_SPREAD, **_SHAPE)
    M2M100ForConditionalGeneration(config).save_pretrained(folder)
    return folder


def m2m100_vocabulary_size(tokenizer: Any) -> int:
    """Language ids lie behind the ids that `len(tokenizer)` counts: the highest id decides."""
    highest = max(*tokenizer.get_vocab().values(), *tokenizer.lang_token_to_id.values())
    return highest + 1 + tokenizer.num_madeup_words


def build_nllb(folder: Path, pieces: Path, *, seed: int = 0) -> Path:
    """An NLLB model: M2M100's network with NLLB's tokenizer."""
    folder.mkdir(parents=True)
    tokenizer = NllbTokenizer(vocab_file=str(pieces))
    tokenizer.save_pretrained(folder)
    torch.manual_seed(seed)
    config = M2M100Config(vocab_size=len(tokenizer), init_std=_SPREAD, **_SHAPE)
    M2M100ForConditionalGeneration(config).save_pretrained(folder)
    return folder


def _plain(pieces: Path) -> list[str]:
    processor: Any = sentencepiece.SentencePieceProcessor(model_file=str(pieces))
    special = {"<s>", "</s>", "<unk>"}
    found = [processor.id_to_piece(number) for number in range(processor.get_piece_size())]
    return [piece for piece in found if piece not in special]
