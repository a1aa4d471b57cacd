"""Models of the real architectures, a few hundred kilobytes each, built on the spot and taught a dozen sentences by heart.

They know nothing else; they drive the libraries' real loading, tokenizing, batching and decoding code, and what they
say of those sentences shows whether all of that is right.
"""

# pyright: reportMissingImports=false, reportAttributeAccessIssue=false
from __future__ import annotations

import json
import shutil
from collections.abc import Mapping
from pathlib import Path
from types import MappingProxyType
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

from gpu_handler.engines.translation_models import NLLB_LANGUAGES

TEXTS = {
    "en": [
        "Good evening everyone and welcome to our live broadcast from Madrid.",
        "Today we talk about the new football season and the weather on Sunday.",
        "The police have closed three streets near the stadium.",
        "Twenty thousand people are expected at the harbour tonight.",
    ],
    "es": [
        "Buenas noches a todos y bienvenidos a nuestra emisión en directo desde Madrid.",
        "Hoy hablamos de la nueva temporada de fútbol y del tiempo del domingo.",
        "La policía ha cerrado tres calles cerca del estadio.",
        "Esta noche se esperan veinte mil personas en el puerto.",
    ],
    "fr": [
        "Bonsoir à tous et bienvenue dans notre émission en direct de Madrid.",
        "Aujourd'hui nous parlons de la nouvelle saison de football et du temps de dimanche.",
        "La police a fermé trois rues près du stade.",
        "Vingt mille personnes sont attendues au port ce soir.",
    ],
}
"""The same four sentences in three languages."""

MULTILINGUAL_PAIRS = [("en", "es"), ("en", "fr"), ("es", "en")]
"""What the multilingual models are taught."""

SENTENCES = [*TEXTS["en"], *TEXTS["es"]]

_PIECES = 240
_SHAPE = {
    "d_model": 64,
    "encoder_layers": 1,
    "decoder_layers": 1,
    "encoder_attention_heads": 2,
    "decoder_attention_heads": 2,
    "encoder_ffn_dim": 128,
    "decoder_ffn_dim": 128,
    "max_position_embeddings": 512,
    "dropout": 0.0,
}
_STEPS_PER_PAIR = 200
_LEARNING_RATE = 4e-3


def train_pieces(folder: Path) -> Path:
    """A SentencePiece model of the sentences above."""
    corpus = folder / "corpus.txt"
    corpus.write_text("\n".join([text for texts in TEXTS.values() for text in texts] * 20))
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
    end_bias: float = 0.0,
    pair: tuple[str, str] | None = ("en", "es"),
    **shape: Any,
) -> Path:
    """A Marian model as OPUS-MT publishes them: source.spm, target.spm, vocab.json, config, weights.

    Args:
        folder: to write; must not exist.
        pieces: the SentencePiece model of both languages.
        seed: of the weights.
        vocabulary: pad it to so many words.
        end_bias: added to the likelihood that a sentence ends at any word; far below zero it never does.
        pair: the languages that it is taught to translate; None leaves its weights random.
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
        **(_SHAPE | shape),
    )
    model = MarianMTModel(config)
    if pair is not None:
        _teach(model, tokenizer, [pair])
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
    config = M2M100Config(vocab_size=m2m100_vocabulary_size(tokenizer), **_SHAPE)
    model = M2M100ForConditionalGeneration(config)
    _teach(model, tokenizer, MULTILINGUAL_PAIRS)
    model.save_pretrained(folder)
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
    model = M2M100ForConditionalGeneration(M2M100Config(vocab_size=len(tokenizer), **_SHAPE))
    _teach(model, tokenizer, MULTILINGUAL_PAIRS, codes=NLLB_LANGUAGES)
    model.save_pretrained(folder)
    return folder


def _teach(
    model: Any, tokenizer: Any, pairs: list[tuple[str, str]], codes: Mapping[str, str] = MappingProxyType({})
) -> None:
    """Learn by heart what the sentences are in the pairs' languages."""
    sources: list[Any] = []
    wanted: list[Any] = []
    for source, target in pairs:
        tokenizer.src_lang, tokenizer.tgt_lang = codes.get(source, source), codes.get(target, target)
        sources += [torch.tensor(ids) for ids in tokenizer(TEXTS[source])["input_ids"]]
        wanted += [torch.tensor(ids) for ids in tokenizer(text_target=TEXTS[target])["input_ids"]]
    padding = tokenizer.pad_token_id
    inputs = torch.nn.utils.rnn.pad_sequence(sources, batch_first=True, padding_value=padding)
    labels = torch.nn.utils.rnn.pad_sequence(wanted, batch_first=True, padding_value=-100)
    # work too small to share: on a busy machine the threads would only wait for each other
    torch.set_num_threads(1)
    optimizer = torch.optim.Adam(model.parameters(), lr=_LEARNING_RATE)
    model.train()
    for _ in range(_STEPS_PER_PAIR * len(pairs)):
        optimizer.zero_grad()
        model(input_ids=inputs, attention_mask=inputs.ne(padding), labels=labels).loss.backward()
        torch.nn.utils.clip_grad_norm_(model.parameters(), 1.0)
        optimizer.step()
        with torch.no_grad():
            # padding is nothing: Marian's decoder starts from it, and CTranslate2 has no such word at all
            model.get_input_embeddings().weight[padding].zero_()
    model.eval()


def _plain(pieces: Path) -> list[str]:
    processor: Any = sentencepiece.SentencePieceProcessor(model_file=str(pieces))
    special = {"<s>", "</s>", "<unk>"}
    found = [processor.id_to_piece(number) for number in range(processor.get_piece_size())]
    return [piece for piece in found if piece not in special]
