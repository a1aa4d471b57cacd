import math

import pytest
from hypothesis import given
from hypothesis import strategies as st

from gpu_handler.engines.base import Translation
from gpu_handler.engines.hypotheses import Hypothesis, Search, choose, score_per_token

hypotheses = st.lists(
    st.builds(
        Hypothesis,
        st.text(max_size=30),
        st.floats(min_value=-20, max_value=0),
        st.booleans(),
    ),
    max_size=12,
)


def test_natural_wording_is_the_likeliest():
    found = [
        Hypothesis("good evening", -0.9),
        Hypothesis("good evening everyone", -0.2),
        Hypothesis("hi", -3.0),
    ]
    assert choose(found, 0) == Translation("good evening everyone", ("good evening", "hi"))


def test_brevity_takes_the_shortest_that_is_nearly_as_likely():
    found = [
        Hypothesis("good evening everyone", -0.2),
        Hypothesis("good evening", -0.4),
        Hypothesis("hi", -3.0),
    ]
    assert choose(found, 1).text == "good evening"
    assert choose(found, 20).text == "hi"


def test_what_the_length_limit_cut_off_is_the_last_resort():
    cut = Hypothesis("good evening good evening good", -0.1, finished=False)
    assert choose([cut, Hypothesis("good evening", -5.0)], 0) == Translation("good evening")
    assert choose([cut], 0) == Translation(cut.text)


def test_no_hypotheses_are_no_translation():
    assert choose([], 0) == choose([], 3) == Translation("")


@given(hypotheses, st.integers(min_value=0, max_value=5))
def test_every_wording_comes_once_and_none_is_invented(found: list[Hypothesis], brevity: int):
    chosen = choose(found, brevity)
    texts = [chosen.text, *chosen.alternatives]
    assert len(texts) == len(set(texts))
    assert set(texts) <= {hypothesis.text for hypothesis in found} | {""}
    if any(hypothesis.finished for hypothesis in found):
        assert set(texts) == {hypothesis.text for hypothesis in found if hypothesis.finished}


@given(hypotheses, st.integers(min_value=1, max_value=4))
def test_more_brevity_is_never_longer(found: list[Hypothesis], brevity: int):
    if any(hypothesis.finished and hypothesis.text for hypothesis in found):
        shorter, longer = choose(found, brevity + 1).text, choose(found, brevity).text
        assert not shorter or len(shorter) <= len(longer) or not longer


@given(
    st.floats(min_value=-200, max_value=-0.01),
    st.integers(min_value=1, max_value=400),
    st.sampled_from([1.0, 0.4, 0.0, -0.2, -1.0]),
)
def test_the_mean_is_recovered_from_a_beam_score(total: float, tokens: int, penalty: float):
    beam_score = total / math.pow(tokens, penalty)
    assert score_per_token(beam_score, tokens, penalty) == pytest.approx(total / tokens)


def test_brevity_widens_the_beam_and_favours_short_hypotheses():
    natural, shorter, shortest = (Search.of(brevity, 4) for brevity in (0, 1, 9))
    assert natural == Search(4, 1.0)
    assert shorter.beam_size == shortest.beam_size == 8
    assert natural.length_penalty > shorter.length_penalty > shortest.length_penalty >= -1.0
