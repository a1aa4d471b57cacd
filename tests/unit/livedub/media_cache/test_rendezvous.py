from collections import Counter
from random import Random

import pytest
from hypothesis import given
from hypothesis import strategies as st

from livedub.errors import ConfigurationError
from livedub.media_cache.key import cache_key
from livedub.media_cache.rendezvous import Rendezvous

HOSTS = st.lists(st.text(min_size=1, max_size=12), min_size=1, max_size=6, unique=True)
MANY_KEYS = [cache_key(str(number), "v", "m") for number in range(4_000)]


@given(HOSTS, st.text(), st.randoms())
def test_the_order_is_of_all_hosts_and_not_of_the_list(hosts: list[str], key: str, random: Random):
    order = Rendezvous(hosts).order(key)
    assert sorted(order) == sorted(hosts)
    shuffled = hosts.copy()
    random.shuffle(shuffled)
    assert Rendezvous(shuffled).order(key) == order


@given(HOSTS.filter(lambda hosts: len(hosts) > 1), st.text(), st.data())
def test_a_host_that_goes_moves_only_its_own_keys_to_their_second_choice(
    hosts: list[str], key: str, data: st.DataObject
):
    gone = data.draw(st.sampled_from(hosts))
    before = Rendezvous(hosts).order(key)
    after = Rendezvous([host for host in hosts if host != gone]).order(key)
    assert after == tuple(host for host in before if host != gone)


@given(HOSTS, st.text(min_size=13, max_size=14), st.text())
def test_a_host_that_comes_leaves_every_key_within_two_choices(hosts: list[str], new: str, key: str):
    before = Rendezvous(hosts).order(key)[0]
    assert before in Rendezvous([*hosts, new]).order(key)[:2]


@pytest.mark.parametrize("count", [2, 3, 5])
def test_keys_are_shared_out_evenly(count: int):
    rendezvous = Rendezvous([f"https://10.0.0.{number}:8443" for number in range(count)])
    homes = Counter(rendezvous.order(key)[0] for key in MANY_KEYS)
    mean = len(MANY_KEYS) / count
    assert all(0.9 * mean < homes[host] < 1.1 * mean for host in rendezvous.hosts)


def test_keys_stay_where_earlier_releases_put_them():
    rendezvous = Rendezvous(["https://a:8443", "https://b:8443", "https://c:8443"])
    homes = "".join(rendezvous.order(key)[0][8] for key in MANY_KEYS[:16])
    assert homes == "cabbcbccaacabbbb"


@pytest.mark.parametrize("hosts", [[], ["a", "a"]])
def test_no_host_or_one_twice_is_refused(hosts: list[str]):
    with pytest.raises(ConfigurationError, match="hosts"):
        Rendezvous(hosts)
