"""When each recognised word was said, from the alignment that Whisper's decoder pays attention by."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from typing import Any

import numpy as np

from gpu_handler.engines.base import TimedText

_MS_PER_STEP = 20
"""One step of Whisper's encoder."""


def word_times(
    tokenizer: Any, tokens: Sequence[int], alignment: Any, longest_ms: int
) -> tuple[TimedText, ...]:
    """The words of one utterance, in order, within 0 to `longest_ms`; punctuation belongs to the word before it.

    Args:
        tokenizer: faster-whisper's, for the utterance's language.
        tokens: the recognised text's tokens.
        alignment: CTranslate2's result for them: pairs of (text token, encoder step) along the way.
        longest_ms: the utterance's duration.
    """
    words, parts = tokenizer.split_to_word_tokens([*tokens, tokenizer.eot])
    pairs = np.asarray(alignment.alignments, dtype=np.int64).reshape(-1, 2)
    if len(parts) <= 1 or not len(pairs):
        return ()
    # the step at which the path enters each token
    entered = np.flatnonzero(np.diff(pairs[:, 0], prepend=-1))
    starts_ms = pairs[entered, 1] * _MS_PER_STEP
    bounds = np.minimum(np.cumsum([0, *(len(part) for part in parts[:-1])]), len(starts_ms) - 1)
    times_ms = np.clip(starts_ms[bounds], 0, longest_ms)
    timed: list[TimedText] = []
    for word, start_ms, end_ms in zip(words[:-1], times_ms[:-1].tolist(), times_ms[1:].tolist(), strict=True):
        text = word.strip()
        if timed and not any(sign.isalnum() for sign in text):
            timed[-1] = replace(timed[-1], text=timed[-1].text + text)
        elif text:
            timed.append(TimedText(start_ms, max(start_ms, end_ms), text))
    return tuple(timed)
