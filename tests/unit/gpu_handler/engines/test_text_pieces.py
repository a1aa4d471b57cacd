import pytest
from hypothesis import given
from hypothesis import strategies as st

from gpu_handler.engines.text_pieces import split_text


def test_sentences_stay_whole_where_they_fit():
    text = "One two three. Four five, six seven. Eight."
    assert split_text(text, 40) == ["One two three. Four five, six seven.", "Eight."]
    assert split_text(text, 22) == ["One two three.", "Four five, six seven.", "Eight."]
    assert split_text(text, 16) == ["One two three.", "Four five,", "six seven.", "Eight."]


def test_a_word_beyond_the_limit_is_cut():
    assert split_text("abcdefgh ij", 3) == ["abc", "def", "gh", "ij"]


@pytest.mark.parametrize("text", ["", " ", "\n\t"])
def test_blank_text_has_no_pieces(text: str):
    assert split_text(text, 10) == []


@given(st.text(), st.integers(min_value=1, max_value=30))
def test_pieces_fit_and_lose_nothing(text: str, limit: int):
    pieces = split_text(text, limit)
    assert all(0 < len(piece) <= limit for piece in pieces)
    assert "".join("".join(pieces).split()) == "".join(text.split())
