import pytest
from hypothesis import given
from hypothesis import strategies as st

from gpu_handler.engines.batches import in_groups


@given(st.lists(st.tuples(st.integers(0, 3), st.integers())))
def test_answers_come_in_the_batch_s_order(items: list[tuple[int, int]]):
    groups: list[list[tuple[int, int]]] = []

    def run(group: list[tuple[int, int]]) -> list[int]:
        groups.append(group)
        return [value * 2 for _, value in group]

    assert in_groups(items, [key for key, _ in items], run) == [value * 2 for _, value in items]
    assert len(groups) == len({key for key, _ in items})
    assert all(len({key for key, _ in group}) == 1 for group in groups)


def test_an_answer_too_few_is_noticed():
    with pytest.raises(ValueError, match="shorter"):
        in_groups([1, 2], ["a", "a"], lambda group: group[:1])
