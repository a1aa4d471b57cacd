"""Which packet of the output is which packet of the input: the longest run of equal digests in the same order."""

from __future__ import annotations

from bisect import bisect_left
from collections import defaultdict
from collections.abc import Hashable, Sequence
from statistics import median_low


def align(
    source: Sequence[tuple[Hashable, int]], output: Sequence[tuple[Hashable, int]]
) -> list[tuple[int, int]]:
    """Pair the items of two sequences of (digest, time) that are equal, both orders kept, as many as possible.

    A digest that occurs more than once (a still picture coded alike) is paired where its time difference comes
    closest to that of the digests that occur once.

    Returns:
        (source index, output index) pairs, strictly increasing in both.
    """
    at: defaultdict[Hashable, list[int]] = defaultdict(list)
    for index, (digest, _) in enumerate(source):
        at[digest].append(index)
    candidates = [(index, at[digest]) for index, (digest, _) in enumerate(output) if digest in at]
    if not candidates:
        return []
    typical = _typical_offset(source, output, candidates)

    def distance(source_index: int, output_index: int) -> int:
        return abs(output[output_index][1] - source[source_index][1] - typical)

    best: dict[int, int] = {}
    for index, choices in candidates:
        choice = min(choices, key=lambda choice: distance(choice, index))
        if choice not in best or distance(choice, index) < distance(choice, best[choice]):
            best[choice] = index
    return _longest_increasing(sorted(((i, j) for i, j in best.items()), key=lambda pair: pair[1]))


def _typical_offset(
    source: Sequence[tuple[Hashable, int]],
    output: Sequence[tuple[Hashable, int]],
    candidates: list[tuple[int, list[int]]],
) -> int:
    occurrences: defaultdict[Hashable, int] = defaultdict(int)
    for digest, _ in output:
        occurrences[digest] += 1
    offsets = [
        output[index][1] - source[choices[0]][1]
        for index, choices in candidates
        if len(choices) == 1 and occurrences[output[index][0]] == 1
    ]
    if offsets:
        return median_low(offsets)
    return median_low(
        [output[index][1] - source[choice][1] for index, choices in candidates for choice in choices]
    )


def _longest_increasing(pairs: list[tuple[int, int]]) -> list[tuple[int, int]]:
    """The longest subsequence with strictly increasing source index (patience sorting, O(n log n))."""
    tails: list[int] = []
    tail_at: list[int] = []
    previous: list[int] = []
    for position, (source_index, _) in enumerate(pairs):
        length = bisect_left(tails, source_index)
        previous.append(tail_at[length - 1] if length else -1)
        if length == len(tails):
            tails.append(source_index)
            tail_at.append(position)
        else:
            tails[length] = source_index
            tail_at[length] = position
    run: list[tuple[int, int]] = []
    position = tail_at[-1] if tail_at else -1
    while position >= 0:
        run.append(pairs[position])
        position = previous[position]
    run.reverse()
    return run
