"""`livedub verify IN OUT`: measures what a dubbed stream promises, from a recording of its input and its output."""

from __future__ import annotations

import json
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

if TYPE_CHECKING:
    from rich.table import Table


def verify(
    source: Annotated[Path, typer.Argument(metavar="IN", help="Recording of what the worker received.")],
    output: Annotated[Path, typer.Argument(metavar="OUT", help="Recording of what it sent.")],
    events: Annotated[
        Path | None, typer.Option(help="The session's events.jsonl: fragments, margins, stage times, dubs.")
    ] = None,
    reference: Annotated[
        Path | None,
        typer.Option(help="clip.reference.json of a made clip: script, reference translation, stems."),
    ] = None,
    language: Annotated[
        str, typer.Option(help="OUT is the output in this language; without it, the first language's.")
    ] = "",
    listen: Annotated[  # noqa: FBT002 - typer turns it into --listen/--no-listen
        bool, typer.Option(help="Let the speech engines transcribe the output and the dubs (needs --events).")
    ] = True,
    json_only: Annotated[  # noqa: FBT002 - typer turns it into a flag
        bool, typer.Option("--json-only", help="Print nothing but the JSON report.")
    ] = False,
) -> None:
    """Measure OUT against IN and print the report as JSON; exits 0 if everything measured clears its bar, else 1."""
    from livedub.verify.events import read_events  # noqa: PLC0415 - heavy
    from livedub.verify.report import verify_recordings  # noqa: PLC0415 - heavy
    from livedub.verify.transcriber import transcribe_with_engines  # noqa: PLC0415

    report = verify_recordings(
        source,
        output,
        read_events(events, language=language) if events is not None else None,
        reference=reference,
        transcribe=transcribe_with_engines if listen and events is not None else None,
    )
    if not json_only:
        _print_summary(report)
    typer.echo(json.dumps(report, indent=2, ensure_ascii=False))
    raise typer.Exit(0 if report["verified"] else 1)


def _print_summary(report: dict[str, Any]) -> None:
    """A table of the checks and the reasons of what could not be told, on stderr: stdout is the JSON alone."""
    from rich.console import Console  # noqa: PLC0415 - heavy

    console = Console(stderr=True)
    console.print(checks_table(report))
    for name, reason in report["reasons"].items():
        console.print(f"[dim]{name}: {reason}[/dim]")
    console.print("[green]verified[/green]" if report["verified"] else "[red]not verified[/red]")


def checks_table(report: dict[str, Any]) -> Table:
    """The report's checks as a table for people: figure, bar, verdict."""
    from rich.table import Table  # noqa: PLC0415 - heavy

    table = Table("check", "figure", "bar", "", caption="what each check means: docs/verification.md")
    for check in report["checks"]:
        figure = "-" if check["figure"] is None else f"{check['figure']:g} {check['unit']}".strip()
        verdict = {True: "[green]ok[/green]", False: "[red]FAILED[/red]", None: "[dim]not told[/dim]"}[
            check["passed"]
        ]
        table.add_row(
            check["name"], figure, f"{check['relation']} {check['bar']:g} {check['unit']}".strip(), verdict
        )
    return table
