import math
import socket

import pytest
from hypothesis import given
from hypothesis import strategies as st

from livedub.errors import ConfigurationError
from media_edge.cache.served_certificate import CertificateWatch, parse_address


@pytest.mark.parametrize(
    ("text", "host", "port"),
    [("127.0.0.1:8443", "127.0.0.1", 8443), ("[::1]:1", "::1", 1), ("a.b:65535", "a.b", 65_535)],
)
def test_host_and_port_are_told_apart(text: str, host: str, port: int):
    assert parse_address(text) == (host, port)


@given(st.text(max_size=40) | st.from_regex(r"[a-z0-9.\[\]:]{0,12}:[0-9]{0,6}", fullmatch=True))
def test_any_text_is_an_address_or_refused(text: str):
    try:
        host, port = parse_address(text)
    except ConfigurationError:
        return
    assert 0 < port < 65_536
    assert host in text


def test_nobody_there_has_no_days_left():
    with socket.create_server(("127.0.0.1", 0)) as taken:
        port = taken.getsockname()[1]
    assert math.isnan(CertificateWatch(f"127.0.0.1:{port}").days_left())
