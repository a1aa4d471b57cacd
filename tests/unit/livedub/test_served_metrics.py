import socket
import urllib.request

import pytest
from prometheus_client import Counter

from livedub.served_metrics import ServedMetrics


class Figures(ServedMetrics):
    def __init__(self) -> None:
        super().__init__()
        self.seen = Counter("seen", "What was seen", registry=self.registry)


def test_figures_are_served_until_they_are_closed():
    figures, other = Figures(), Figures()
    figures.seen.inc()
    port = figures.serve("127.0.0.1", 0)
    try:
        with urllib.request.urlopen(f"http://127.0.0.1:{port}/metrics", timeout=30) as answer:
            assert b"seen_total 1.0" in answer.read()
        with pytest.raises(OSError, match="in use"):
            other.serve("127.0.0.1", port)
    finally:
        figures.close()
    with pytest.raises(OSError, match="refused"):
        socket.create_connection(("127.0.0.1", port), timeout=30)


def test_closing_what_was_never_served_is_fine():
    figures = Figures()
    figures.close()
    figures.close()
