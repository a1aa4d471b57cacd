"""A batch whose items cannot all run together: parts that can, each run as one, answers in the batch's order."""

from __future__ import annotations

from collections.abc import Callable, Hashable, Sequence
from typing import TypeVar

Item = TypeVar("Item")
Answer = TypeVar("Answer")


def in_groups(
    batch: Sequence[Item], keys: Sequence[Hashable], run: Callable[[list[Item]], list[Answer]]
) -> list[Answer]:
    """Run the items of each key together, in order of appearance; `keys[i]` belongs to `batch[i]`."""
    groups: dict[Hashable, list[int]] = {}
    for index, key in enumerate(keys):
        groups.setdefault(key, []).append(index)
    answers: dict[int, Answer] = {}
    for indices in groups.values():
        answers.update(zip(indices, run([batch[index] for index in indices]), strict=True))
    return [answers[index] for index in range(len(batch))]
