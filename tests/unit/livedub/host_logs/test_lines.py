"""Lines out of pieces of any size."""

from hypothesis import given
from hypothesis import strategies as st

from livedub.host_logs.lines import LineSplitter


@given(
    st.lists(st.binary(max_size=12).map(lambda line: line.replace(b"\n", b"-")), max_size=20),
    st.lists(st.integers(1, 30), min_size=1),
)
def test_however_it_is_cut_all_that_fit_come_out_and_no_others(lines: list[bytes], sizes: list[int]):
    data = b"".join(line + b"\n" for line in lines)
    splitter, found, start, turn = LineSplitter(8), list[bytes](), 0, 0
    while start < len(data):
        size = sizes[turn % len(sizes)]
        found += splitter.feed(data[start : start + size])
        start, turn = start + size, turn + 1
    assert found == [line for line in lines if 0 < len(line) <= 8]
    assert splitter.left_out == sum(len(line) > 8 for line in lines)


def test_half_a_line_waits_for_its_other_half():
    splitter = LineSplitter(100)
    assert splitter.feed(b"one\ntw") == [b"one"]
    assert splitter.feed(b"o\n") == [b"two"]


def test_a_line_without_an_end_takes_no_memory():
    splitter = LineSplitter(100)
    for _ in range(1_000):
        assert splitter.feed(b"x" * 60) == []
        assert splitter.held_bytes <= 100
    assert splitter.feed(b"x\nshort\n") == [b"short"]
    assert splitter.left_out == 1
