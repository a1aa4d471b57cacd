from __future__ import annotations

import pytest

from livedub.errors import ConfigurationError
from livedub.timeline.clock import NS_PER_MS
from livedub.timeline.delay import fragment_max_ns


def test_the_longest_fragment_is_what_the_delay_leaves():
    assert fragment_max_ns(8_000, 3_500, 400) == 4_100 * NS_PER_MS


def test_exactly_the_minimum_is_enough():
    assert fragment_max_ns(4_900, 3_500, 400, min_ns=1_000 * NS_PER_MS) == 1_000 * NS_PER_MS


def test_a_delay_that_leaves_no_fragment_names_the_setting_and_the_remedy():
    with pytest.raises(ConfigurationError) as raised:
        fragment_max_ns(4_899, 3_500, 400)

    assert "WORKER_DELAY_MS is 4899" in raised.value.message
    assert "leaves 999 ms" in raised.value.message
    assert "Set WORKER_DELAY_MS to 4900 or more" in raised.value.remedy


def test_following_the_remedy_helps():
    min_ns = 1_500 * NS_PER_MS + 1  # rounds up to whole milliseconds
    with pytest.raises(ConfigurationError, match="5401 or more"):
        fragment_max_ns(1_000, 3_500, 400, min_ns=min_ns)

    assert fragment_max_ns(5_401, 3_500, 400, min_ns=min_ns) >= min_ns


def test_negative_times_are_named():
    with pytest.raises(ConfigurationError, match="mixer_lead_ms is -1"):
        fragment_max_ns(8_000, 3_500, -1)


def test_zero_is_no_negative_time():
    assert fragment_max_ns(4_000, 0, 0) == 4_000 * NS_PER_MS
