import io
from typing import Any

import pytest
from rich.console import Console

from local.demo_view import DemoView

FRAGMENT: dict[str, Any] = {
    "event": "fragment",
    "start_ns": 4_600_000_000,
    "rung": "dub",
    "reason": "aired",
    "tempo": 0.9,
    "margin_ms": 2_700.0,
    "transcript": "Hoy juegan [los dos] equipos.",
    "translated_text": "Today the two teams play.",
    "source_language": "es",
    "target_language": "en",
}


def shown(*events: dict[str, Any], terminal: bool = False) -> str:
    file = io.StringIO()
    with DemoView(Console(file=file, force_terminal=terminal, width=100, color_system=None)) as view:
        for event in events:
            view.hear(event)
    return file.getvalue()


def test_a_fragment_is_shown_with_both_texts_rung_and_margin():
    assert shown(FRAGMENT).splitlines() == [
        "    4.6 s  dub       0.90x  2.7 s to spare",
        "             es  Hoy juegan [los dos] equipos.",
        "             en  Today the two teams play.",
    ]


def test_what_was_not_dubbed_says_why():
    late = shown({**FRAGMENT, "rung": "ducked", "reason": "late", "margin_ms": -300.0})
    assert late.startswith("    4.6 s  ducked    0.3 s late  late")
    silent = shown({"event": "fragment", "start_ns": 0, "rung": "original", "reason": "no_speech"})
    assert silent.splitlines() == ["    0.0 s  original  no_speech"]


@pytest.mark.parametrize("state", ["waiting", "input_absent", "something new"])
def test_a_change_of_state_is_a_line(state: str):
    assert len(shown({"event": "state", "state": state}).splitlines()) == 1


def test_progress_moves_a_line_on_a_terminal_and_is_silent_elsewhere():
    events = (
        {"event": "state", "state": "live"},
        {
            "event": "progress",
            "rung": "dub",
            "input_media_ms": 12_300,
            "output_media_ms": 4_200,
            "in_flight": 2,
        },
    )
    assert shown(*events) == "on air\n"
    status = shown(*events, terminal=True)
    assert "in   12.3 s  out    4.2 s  lag  8.1 s  on air: dub  2 in flight" in status


def test_progress_before_anything_moves_is_no_error():
    progress = {
        "event": "progress",
        "rung": "",
        "input_media_ms": None,
        "output_media_ms": None,
        "in_flight": 0,
    }
    assert "0 in flight" in shown(progress, terminal=True)
