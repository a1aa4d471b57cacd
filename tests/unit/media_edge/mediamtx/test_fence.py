# ruff: noqa: S106 - the tokens are no secrets
from hypothesis import given
from hypothesis import strategies as st

from media_edge.mediamtx.relay.fence import Fence

PATH = "live/demo/out"


def test_generations_only_grow():
    fence = Fence()
    assert fence.admit(PATH, generation=2, token="b", connection="1")
    assert not fence.admit(PATH, generation=1, token="a", connection="2")
    assert fence.admit(PATH, generation=2, token="b", connection="3"), "the same holder connects again"
    assert fence.admit(PATH, generation=3, token="c", connection="4")
    assert fence.admit("live/other/out", generation=1, token="a", connection="5")


def test_only_the_latest_token_matches():
    fence = Fence()
    assert not fence.matches(PATH, "a")
    fence.admit(PATH, generation=1, token="a", connection="1")
    fence.admit(PATH, generation=2, token="b", connection="2")
    assert fence.matches(PATH, "b")
    assert not fence.matches(PATH, "a")
    assert not fence.matches(PATH, "")


def test_it_keeps_no_token():
    fence = Fence()
    fence.admit(PATH, generation=1, token="secret-token", connection="1")
    assert "secret-token" not in repr(fence.latest(PATH))


def test_a_number_used_again_is_no_longer_a_replaced_connection():
    fence = Fence()
    for generation, connection in enumerate(("1", "2", "1")):
        fence.admit(PATH, generation=generation, token="t", connection=connection)
    permit = fence.latest(PATH)
    assert permit is not None
    assert permit.connection == "1"
    assert permit.replaced == ("2",)


def test_memory_is_bounded():
    fence = Fence(most_paths=3)
    for index in range(5):
        fence.admit(f"live/s{index}/out", generation=1, token="t", connection="1")
    assert fence.latest("live/s1/out") is None
    assert fence.latest("live/s4/out") is not None
    for index in range(100):
        fence.admit("live/s4/out", generation=1, token="t", connection=str(index))
    latest = fence.latest("live/s4/out")
    assert latest is not None
    assert len(latest.replaced) < 20


@given(st.lists(st.tuples(st.integers(0, 5), st.integers(0, 9)), max_size=30))
def test_whoever_is_admitted_is_of_the_newest_generation_seen(arrivals: list[tuple[int, int]]):
    fence = Fence()
    newest = -1
    for generation, connection in arrivals:
        admitted = fence.admit(PATH, generation=generation, token="t", connection=str(connection))
        assert admitted == (generation >= newest)
        newest = max(newest, generation)
        latest = fence.latest(PATH)
        assert latest is not None
        assert latest.generation == newest
        assert latest.connection not in latest.replaced
        assert fence.is_latest(PATH, str(connection)) or not admitted


def test_a_newer_generation_on_one_output_ends_the_older_ones_right_to_all():
    fence = Fence()
    french, german = f"{PATH}-fr", f"{PATH}-de"
    for path, connection in ((PATH, "1"), (french, "2"), (german, "3")):
        assert fence.admit(path, generation=1, token="a", connection=connection)
    assert fence.supersede(PATH, 1) == []
    assert fence.admit(PATH, generation=2, token="b", connection="4")
    assert set(fence.supersede(PATH, 2)) == {french, german}
    assert fence.was_replaced(french, "2")
    assert not fence.matches(french, "a")
    assert not fence.matches(french, "")
    assert not fence.admit(french, generation=1, token="a", connection="5")
    assert fence.admit(french, generation=2, token="b", connection="6")
    assert fence.supersede(french, 2) == []
    assert not fence.was_replaced(french, "6")
    assert set(fence.outputs_beside(german)) == {PATH, french, german}


def test_streams_whose_names_begin_alike_are_not_beside_each_other():
    fence = Fence()
    assert fence.admit("live/demo/out-fr", generation=5, token="a", connection="1")
    assert fence.admit("live/demo-2/out", generation=1, token="b", connection="2")
    assert set(fence.outputs_beside("live/demo/out")) == {"live/demo/out-fr"}
