from types import SimpleNamespace

from hypothesis import given
from hypothesis import strategies as st

from gpu_handler.engines.base import TimedText
from gpu_handler.engines.word_times import word_times

EOT = 99


class OneWordPerToken:
    """Splits tokens as faster-whisper does, with a word for each."""

    eot = EOT

    def __init__(self, words: dict[int, str]) -> None:
        self._words = words | {EOT: "<|endoftext|>"}

    def split_to_word_tokens(self, tokens: list[int]) -> tuple[list[str], list[list[int]]]:
        return [self._words[token] for token in tokens], [[token] for token in tokens]


def path(*steps: tuple[int, int]) -> SimpleNamespace:
    return SimpleNamespace(alignments=list(steps))


def test_a_word_lasts_until_the_next_begins():
    tokenizer = OneWordPerToken({1: " good", 2: " evening"})
    found = word_times(tokenizer, [1, 2], path((0, 5), (0, 6), (1, 20), (1, 21), (2, 50)), 2_000)
    assert found == (TimedText(100, 400, "good"), TimedText(400, 1_000, "evening"))


def test_punctuation_belongs_to_the_word_before_it():
    tokenizer = OneWordPerToken({1: " good", 2: ",", 3: " bye"})
    found = word_times(tokenizer, [1, 2, 3], path((0, 0), (1, 10), (2, 20), (3, 30)), 2_000)
    assert [word.text for word in found] == ["good,", "bye"]


def test_times_end_with_the_clip():
    tokenizer = OneWordPerToken({1: " good"})
    assert word_times(tokenizer, [1], path((0, 0), (1, 499)), 300) == (TimedText(0, 300, "good"),)


def test_no_text_has_no_words():
    assert word_times(OneWordPerToken({}), [], path((0, 0)), 300) == ()
    assert word_times(OneWordPerToken({1: " a"}), [1], path(), 300) == ()


@given(st.lists(st.integers(min_value=0, max_value=1_500), min_size=2, max_size=30), st.integers(1, 30_000))
def test_words_are_in_order_and_inside(steps: list[int], longest_ms: int):
    tokens = list(range(len(steps) - 1))
    tokenizer = OneWordPerToken({token: f" w{token}" for token in tokens})
    found = word_times(tokenizer, tokens, path(*enumerate(sorted(steps))), longest_ms)
    assert len(found) == len(tokens)
    edges = [edge for word in found for edge in (word.start_ms, word.end_ms)]
    assert edges == sorted(edges)
    assert edges[0] >= 0
    assert edges[-1] <= longest_ms
