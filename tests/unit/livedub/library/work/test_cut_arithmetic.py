"""The pure parts of cutting: samples, decoding times, what of the picture is copied, H.264's units."""

from fractions import Fraction
from itertools import pairwise

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from livedub.library.work.exact_picture import Seen, decoding_stamps, plan_copy
from livedub.library.work.exact_span import ExactSpan
from livedub.library.work.h264_nal import (
    begins_afresh,
    free_set_id,
    length_bytes_of,
    parameter_sets,
    units,
)
from livedub.library.work.sample_cut import cut_samples

RATE_HZ = 48_000
MS = Fraction(1, 1000)


def numbered(lengths: list[int], start: int = 0):
    """Blocks whose samples are their own positions."""
    position = start
    for length in lengths:
        block = np.arange(position, position + length, dtype=np.int32)[None, :]
        yield Fraction(position, RATE_HZ), block
        position += length


@given(
    st.lists(st.integers(1, 3_000), min_size=1, max_size=20),
    st.integers(0, 200),
    st.integers(1, 400),
    st.sampled_from([1, 1_024]),
)
def test_exactly_the_samples_of_the_span_come_whatever_the_blocks(
    lengths: list[int], start_ms: int, length_ms: int, multiple: int
):
    span = ExactSpan(start_ms * MS, (start_ms + length_ms) * MS)
    total = sum(lengths)
    got = list(cut_samples(numbered(lengths), span, RATE_HZ, multiple))
    values = np.concatenate([block[0] for _, block in got]) if got else np.zeros(0, np.int32)
    first, last = start_ms * 48, (start_ms + length_ms) * 48
    begin = first - (first - last) % multiple
    if total <= begin:
        assert not len(values)
        return
    expected = np.arange(begin, min(last, total))
    expected[expected < 0] = 0  # silence before the file's first sample
    assert np.array_equal(values, expected)
    assert got[0][0] == begin - first
    if total >= last:
        assert len(values) % multiple == 0


def test_a_hole_is_silent_and_an_overlap_counts_once():
    blocks = [
        (Fraction(0), np.full((1, 4_800), 1)),
        (Fraction(2, 10), np.full((1, 4_800), 2)),
        (Fraction(25, 100), np.full((1, 4_800), 3)),
    ]
    got = np.concatenate(
        [block[0] for _, block in cut_samples(blocks, ExactSpan(Fraction(0), Fraction(1)), RATE_HZ)]
    )
    assert [int(got[at]) for at in (0, 4_799, 4_800, 9_599, 9_600, 14_399, 14_400, 16_799)] == [
        1,
        1,
        0,
        0,
        2,
        2,
        3,
        3,
    ]
    assert len(got) == 16_800


def test_rounded_timestamps_move_no_sample():
    blocks = [
        (Fraction(round(at * 1000 / 48_000), 1000), np.arange(at, at + 1024)[None, :])
        for at in range(0, 48_000, 1024)
    ]
    span = ExactSpan(100 * MS, 900 * MS)
    got = np.concatenate([block[0] for _, block in cut_samples(blocks, span, RATE_HZ)])
    assert np.array_equal(got, np.arange(4_800, 43_200))


@given(st.permutations(range(12)))
def test_nothing_is_decoded_after_it_is_shown(stamps: list[int]):
    decoding = decoding_stamps(stamps)
    assert all(at <= shown for at, shown in zip(decoding, stamps, strict=True))
    assert all(earlier < later for earlier, later in pairwise(decoding))


# Two groups with B frames in the order of decoding; 0 and 5 start afresh.
GROUPS = [Seen(0, afresh=True), *(Seen(at, afresh=False) for at in (4, 1, 2, 3))]
GROUPS += [Seen(5, afresh=True), *(Seen(at, afresh=False) for at in (9, 6, 7, 8)), Seen(10, afresh=True)]


@pytest.mark.parametrize(
    ("start", "end", "copied"),
    [
        (0, 10, (0, 4, 1, 2, 3, 5, 9, 6, 7, 8)),
        (0, 11, (0, 4, 1, 2, 3, 5, 9, 6, 7, 8, 10)),
        (1, 10, (5, 9, 6, 7, 8)),
        (0, 9, (0, 4, 1, 2, 3)),
        (1, 9, None),
        (6, 9, None),
    ],
)
def test_whole_groups_are_copied_and_nothing_else(start: int, end: int, copied: tuple[int, ...] | None):
    plan = plan_copy(GROUPS, ExactSpan(Fraction(start), Fraction(end)), Fraction(1))
    assert (plan and plan.copied) == copied


@given(st.lists(st.binary(min_size=1, max_size=20), min_size=1, max_size=6))
def test_units_come_out_as_they_went_in(payloads: list[bytes]):
    clean = [bytes([0x65]) + payload.replace(b"\x00", b"\x01") for payload in payloads]
    assert list(units(b"".join(b"\x00\x00\x01" + unit for unit in clean))) == clean
    assert list(units(b"".join(b"\x00\x00\x00\x01" + unit for unit in clean))) == clean
    assert list(units(b"".join(len(unit).to_bytes(4, "big") + unit for unit in clean), 4)) == clean


@given(st.binary(max_size=64), st.sampled_from([0, 1, 2, 4]))
def test_no_bytes_upset_the_reader_of_units(data: bytes, length_bytes: int):
    for unit in units(data, length_bytes):
        assert unit in data


def test_only_idr_pictures_start_afresh():
    assert begins_afresh(b"\x00\x00\x01\x67\x01\x00\x00\x01\x65\x88")
    assert not begins_afresh(b"\x00\x00\x01\x06\x05\x00\x00\x01\x41\x88")


def test_parameter_sets_are_picked_out_and_an_id_is_found_that_none_has():
    sps = bytes([0x67, 0x4D, 0x40, 0x0B, 0b10000000, 1])  # id 0
    highest = bytes([0x67, 0x4D, 0x40, 0x0B, 0b00000100, 0b00010000])  # 00000 100000: id 31
    data = b"".join(b"\x00\x00\x01" + unit for unit in (sps, b"\x68\xce", b"\x65\x88"))
    assert parameter_sets(data) == b"\x00\x00\x00\x01" + sps + b"\x00\x00\x00\x01\x68\xce"
    assert free_set_id(data) == 31
    assert free_set_id(data + b"\x00\x00\x01" + highest) == 30


def test_avcc_says_how_long_lengths_are():
    assert length_bytes_of(b"\x01\x4d\x40\x0b\xff\xe1") == 4
    assert length_bytes_of(b"\x00\x00\x00\x01\x67") == 0
    assert length_bytes_of(None) == 0
