"""The translation stage against plain transformers: `.venv-torch/bin/python tests/bench/bench_mt.py`.

One Marian model of OPUS-MT's real size (6 + 6 layers of 512, 65,000 words, 78 million parameters) with random weights
that never end a sentence, so that both sides write exactly the same number of words. One side is transformers in
float32 as its documentation uses it, tokenizing included; the other is the `ctranslate2` engine as the pipeline calls it,
in int8, which also returns every alternative of its beam. Both have the same threads and take turns. Prints JSON.
"""

# pyright: reportMissingImports=false, reportAttributeAccessIssue=false
from __future__ import annotations

import argparse
import json
import os
import statistics
import sys
import tempfile
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import torch
from transformers import AutoModelForSeq2SeqLM, AutoTokenizer

from gpu_handler.engines import ctranslate
from gpu_handler.engines.base import Sentence
from gpu_handler.settings import StsSettings
from tests.torch import tiny_models

WORDS_OUT = 24
RUNS = 7
CASES = ((1, 1), (1, 4), (8, 4))
"""(sentences in a batch, beam); the pipeline's beam is 4."""

TEXTS = [
    "Twenty thousand people are expected.",
    "The police have closed three streets.",
    "Good evening and welcome to Madrid.",
    "Today we talk about the new season.",
    "The weather on Sunday is good.",
    "Tonight the harbour is closed.",
    "The new stadium is near the harbour.",
    "Welcome to our live broadcast.",
]


def build(home: Path) -> Path:
    """The model, in the layout that OPUS-MT is published in."""
    pieces = tiny_models.train_pieces(home)
    return tiny_models.build_marian(
        home / "opus-mt-en-es",
        pieces,
        vocabulary=65_001,
        end_bias=-10_000.0,
        pair=None,
        d_model=512,
        encoder_layers=6,
        decoder_layers=6,
        encoder_attention_heads=8,
        decoder_attention_heads=8,
        encoder_ffn_dim=2048,
        decoder_ffn_dim=2048,
    )


def plain_transformers(folder: Path, beam: int) -> Callable[[list[str]], int]:
    """Translate with transformers alone; answers how many words a sentence got."""
    tokenizer: Any = AutoTokenizer.from_pretrained(folder, local_files_only=True)
    model: Any = AutoModelForSeq2SeqLM.from_pretrained(folder, local_files_only=True).eval()

    def translate(texts: list[str]) -> int:
        with torch.inference_mode():
            encoded = tokenizer(texts, return_tensors="pt", padding=True)
            found = model.generate(**encoded, num_beams=beam, max_new_tokens=WORDS_OUT, do_sample=False)
            tokenizer.batch_decode(found, skip_special_tokens=True)
        return found.shape[1] - 1

    return translate


def our_stage(home: Path, beam: int, threads: int) -> Callable[[list[str]], int]:
    """Translate with the engine; answers how many words a sentence got."""
    settings = StsSettings(mt_model_dir=home, mt_beam_size=beam, cpu_threads=threads, mt_max_batch=16)
    engine = ctranslate.CTranslateTranslator(settings)
    engine.load()
    written: list[int] = []
    join = engine._models["en", "es"].pieces.join

    def translate(texts: list[str]) -> int:
        written.clear()
        engine.translate([Sentence(text, "en", "es") for text in texts])
        return max(written)

    def count(pieces: Any) -> str:
        written.append(len(pieces))
        return join(pieces)

    engine._models["en", "es"].pieces.join = count  # pyright: ignore[reportAttributeAccessIssue]
    return translate


def measure(runs: int = RUNS, threads: int = 0) -> dict[str, Any]:
    """Medians in milliseconds and their ratio, by case; the two sides take turns."""
    threads = threads or len(os.sched_getaffinity(0))
    torch.set_num_threads(threads)
    # as many words out of the engine as out of transformers, which has its own way to say it
    ctranslate._EXTRA_PIECES, ctranslate._PIECES_PER_PIECE = WORDS_OUT, 0
    cases: list[dict[str, Any]] = []
    with tempfile.TemporaryDirectory() as scratch:
        home = Path(scratch)
        folder = build(home)
        parameters = sum(p.numel() for p in AutoModelForSeq2SeqLM.from_pretrained(folder).parameters())
        for batch, beam in CASES:
            sides = {
                "transformers_fp32": plain_transformers(folder, beam),
                "ctranslate2_int8": our_stage(home, beam, threads),
            }
            cases.append({"batch": batch, "beam": beam, **take_turns(sides, TEXTS[:batch], runs)})
    return {
        "parameters": parameters,
        "threads": threads,
        "words_out": WORDS_OUT,
        "runs": runs,
        "load_before": [round(load, 2) for load in os.getloadavg()],
        "cases": cases,
    }


def take_turns(sides: dict[str, Callable[[list[str]], int]], texts: list[str], runs: int) -> dict[str, Any]:
    """Each side once in every round, a first round not counted."""
    taken: dict[str, list[float]] = {name: [] for name in sides}
    for round_number in range(runs + 1):
        for name, translate in sides.items():
            begun = time.perf_counter()
            words = translate(texts)
            took_ms = (time.perf_counter() - begun) * 1000
            if words != WORDS_OUT:
                raise SystemExit(f"{name} wrote {words} words, not {WORDS_OUT}: the sides cannot be compared")
            if round_number:
                taken[name].append(took_ms)
    medians = {name: statistics.median(found) for name, found in taken.items()}
    slow, fast = medians["transformers_fp32"], medians["ctranslate2_int8"]
    return {
        **{f"{name}_ms": round(value, 1) for name, value in medians.items()},
        "times_faster": round(slow / fast, 2),
    }


if __name__ == "__main__":
    parser = argparse.ArgumentParser(description=(__doc__ or "").splitlines()[0])
    parser.add_argument("--runs", type=int, default=RUNS)
    parser.add_argument("--threads", type=int, default=0, help="0 takes every core")
    options = parser.parse_args()
    json.dump(measure(options.runs, options.threads), sys.stdout, indent=2)
    print()  # noqa: T201 - the report
