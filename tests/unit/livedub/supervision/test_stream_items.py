import math
from dataclasses import replace

import pytest
from hypothesis import given
from hypothesis import strategies as st

from livedub.errors import InvalidInputError
from livedub.supervision.record import (
    Desired,
    JournalEntry,
    Lease,
    Media,
    Outcome,
    Phase,
    Source,
    StreamRecord,
)
from livedub.supervision.store_errors import CorruptRecordError
from livedub.supervision.stream_items import from_item, to_item

_TEXT = st.text(max_size=30)
_TIME = st.integers(min_value=0, max_value=2**53)
_JSON = st.recursive(
    st.none()
    | st.booleans()
    | _TEXT
    | st.integers(min_value=-(2**62), max_value=2**62)
    | st.floats(allow_nan=False, allow_infinity=False),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(_TEXT, inner, max_size=3),
    max_leaves=8,
)
_LEASES = st.builds(
    Lease,
    generation=_TIME,
    phase=st.sampled_from(Phase),
    execution=_TEXT,
    agent_id=_TEXT,
    expires_at_ms=_TIME,
    task_token=_TEXT,
    publish_token_hash=_TEXT,
    acquired_at_ms=_TIME,
    claimed_at_ms=st.none() | _TIME,
    ended_at_ms=st.none() | _TIME,
)
_SOURCES = st.builds(
    Source,
    source_id=_TEXT,
    since_ms=_TIME,
    absent_since_ms=st.none() | _TIME,
    gone_source_ids=st.lists(_TEXT, max_size=3).map(tuple),
)
_RECORDS = st.builds(
    StreamRecord,
    stream_id=_TEXT,
    row_version=_TIME,
    desired=st.sampled_from(Desired),
    settings=st.dictionaries(_TEXT, _JSON, max_size=4),
    settings_revision=_TIME,
    stream_key_hash=_TEXT,
    media=st.none()
    | st.builds(Media, relay_id=_TEXT, play_base_url=_TEXT, publish_base_url=_TEXT, kick_url=_TEXT),
    source=st.none() | _SOURCES,
    lease=_LEASES,
    timeline=st.none() | st.dictionaries(_TEXT, st.integers(-(2**62), 2**62), max_size=3),
    restarts_ms=st.lists(_TIME, max_size=5).map(tuple),
    degraded_until_ms=st.none() | _TIME,
    drained_source_id=_TEXT,
    last_outcome=st.none() | st.sampled_from(Outcome),
    last_detail=_TEXT,
    journal=st.lists(
        st.builds(JournalEntry, at_ms=_TIME, event=_TEXT, generation=_TIME, detail=_TEXT), max_size=3
    ).map(tuple),
)


@given(_RECORDS)
def test_a_record_comes_back_as_it_was(record: StreamRecord):
    assert from_item(to_item(record)) == record


def test_every_field_is_drawn_above():
    """A field added to a record must be in the property too."""
    filled = StreamRecord("s", media=Media("r", "p", "q"), source=Source("a", 1))
    assert set(to_item(filled)) == set(StreamRecord.__dataclass_fields__)
    assert set(to_item(filled)["lease"]["M"]) == set(Lease.__dataclass_fields__)
    assert set(to_item(filled)["source"]["M"]) == set(Source.__dataclass_fields__)


def test_the_state_machine_can_address_what_it_writes():
    item = to_item(StreamRecord("s", row_version=3, lease=Lease(generation=2, execution="e")))
    assert item["row_version"] == {"N": "3"}
    assert item["lease"]["M"]["generation"] == {"N": "2"}
    assert item["lease"]["M"]["execution"] == {"S": "e"}
    assert item["lease"]["M"]["task_token"] == {"S": ""}


def test_a_whole_float_stays_equal_although_dynamodb_drops_its_point():
    item = to_item(StreamRecord("s", settings={"dub_gain_db": -3.0}))
    item["settings"]["M"]["dub_gain_db"] = {"N": "-3"}
    assert from_item(item).settings == {"dub_gain_db": -3.0}


def test_a_field_of_a_newer_livedub_is_passed_over():
    item = to_item(StreamRecord("s")) | {"later": {"S": "x"}}
    assert from_item(item) == StreamRecord("s")


def test_a_row_without_newer_fields_reads_as_their_defaults():
    item = to_item(StreamRecord("s"))
    del item["drained_source_id"], item["lease"]["M"]["ended_at_ms"]
    assert from_item(item) == StreamRecord("s")


@pytest.mark.parametrize("value", [math.inf, -math.inf, math.nan, b"x", {"a": [math.nan]}])
def test_what_dynamodb_cannot_hold_is_refused(value: object):
    with pytest.raises(InvalidInputError, match=r"settings\.x"):
        to_item(StreamRecord("s", settings={"x": value}))


def test_a_corrupt_row_is_named_without_its_values():
    record = replace(StreamRecord("stadium"), lease=Lease(task_token="secret-token", execution="e"))  # noqa: S106
    item = to_item(record)
    item["lease"]["M"]["generation"] = {"S": "many"}
    with pytest.raises(CorruptRecordError, match=r"stadium.*lease\.generation") as caught:
        from_item(item)
    assert "secret-token" not in str(caught.value)
    assert caught.value.__cause__ is None


@pytest.mark.parametrize(
    "item", [{}, {"stream_id": {"S": "s"}, "lease": {"SS": ["x"]}}, {"stream_id": {"N": "x"}}]
)
def test_what_is_no_record_is_corrupt(item: dict[str, dict[str, object]]):
    with pytest.raises(CorruptRecordError):
        from_item(item)
