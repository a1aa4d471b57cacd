"""What the demo shows while it runs: the texts as they come, and one line of how the stream is doing."""

from __future__ import annotations

from types import TracebackType
from typing import Any

from rich.console import Console
from rich.live import Live
from rich.markup import escape
from rich.table import Table
from rich.text import Text

_RUNG_STYLE = {"dub": "green", "ducked": "yellow", "original": "red"}
_STATES = {
    "waiting": "waiting for a publisher",
    "buffering": "filling the delay",
    "live": "on air",
    "input_absent": "the publisher is away",
    "output_down": "the output cannot be published",
    "draining": "playing out what is left",
    "ended": "ended",
}


def state_in_words(event: dict[str, Any]) -> str:
    """What a worker's change of state means, for people."""
    state = str(event.get("state"))
    return _STATES.get(state, state)


class DemoView:
    """A context manager; the status line lives only on a terminal, elsewhere every change is a plain line."""

    def __init__(self, console: Console) -> None:
        self._console = console
        self._live = (
            Live(console=console, refresh_per_second=4, transient=True) if console.is_terminal else None
        )
        self._state = ""
        self._note = ""
        self._progress: dict[str, Any] = {}

    def __enter__(self) -> DemoView:
        if self._live is not None:
            self._live.start()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        if self._live is not None:
            self._live.stop()

    def step(self, text: str) -> None:
        """Say what the demo does now."""
        self._note = text
        self._console.print(f"[bold]{escape(text)}[/bold]")
        self._refresh()

    def hear(self, event: dict[str, Any]) -> None:
        """Show one event of the worker."""
        kind = event.get("event")
        if kind == "state":
            self._state = state_in_words(event)
            self._console.print(f"[cyan]{escape(self._state)}[/cyan]")
        elif kind == "progress":
            self._progress = event
        elif kind == "fragment":
            self._fragment(event)
        self._refresh()

    def table(self, table: Table) -> None:
        """Print a table."""
        self._console.print(table)

    def _fragment(self, event: dict[str, Any]) -> None:
        rung = str(event.get("rung"))
        at_s = event.get("start_ns", 0) / 1e9
        head = Text(f"{at_s:7.1f} s  ")
        head.append(f"{rung:<10}", style=_RUNG_STYLE.get(rung, ""))
        margin_ms = event.get("margin_ms")
        facts = [f"{event['tempo']:.2f}x"] if rung == "dub" and event.get("tempo") else []
        if event.get("cache_hit"):
            facts.append("cached")
        if margin_ms is not None:
            facts.append(
                f"{margin_ms / 1000:.1f} s to spare" if margin_ms >= 0 else f"{-margin_ms / 1000:.1f} s late"
            )
        if rung != "dub":
            facts.append(str(event.get("reason", "")))
        head.append("  ".join(facts), style="dim")
        self._console.print(head)
        for language, text in (("source", "transcript"), ("target", "translated_text")):
            if event.get(text):
                line = Text(f"            {event.get(f'{language}_language') or '':>3}  ", style="dim")
                line.append(str(event[text]), style="" if language == "source" else "bold")
                self._console.print(line, soft_wrap=True)

    def _refresh(self) -> None:
        if self._live is not None:
            self._live.update(self._status())

    def _status(self) -> Text:
        line = Text(f" {self._state or self._note} ", style="reverse")
        progress = self._progress
        incoming_ms, outgoing_ms = progress.get("input_media_ms"), progress.get("output_media_ms")
        if incoming_ms is not None:
            line.append(f"  in {incoming_ms / 1000:6.1f} s", style="not reverse")
        if incoming_ms is not None and outgoing_ms is not None:
            line.append(f"  out {outgoing_ms / 1000:6.1f} s", style="not reverse")
            line.append(f"  lag {(incoming_ms - outgoing_ms) / 1000:4.1f} s", style="not reverse")
        rung = str(progress.get("rung") or "")
        if rung:
            line.append("  on air: ", style="not reverse")
            line.append(rung, style=f"not reverse {_RUNG_STYLE.get(rung, '')}")
        if "in_flight" in progress:
            line.append(f"  {progress['in_flight']} in flight", style="not reverse")
        return line
