"""Writes report.html: one file without anything to fetch, beside the clips it plays."""

from __future__ import annotations

import os
import tempfile
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from jinja2 import Environment, FileSystemLoader, StrictUndefined

from local.report.view import build_page

_TEMPLATE = "report.html.j2"


def write_report(out_dir: Path, report: Mapping[str, Any]) -> Path:
    """Write `out_dir`/report.html from the verifier's report and the files beside it, and return its path.

    `out_dir` holds in.mp4 and out.mp4, which the page plays by name, and events.jsonl where there was a session. The
    page appears only when it is complete.

    Raises:
        InvalidInputError: a clip or the event log is missing or cannot be read.
    """
    templates = Environment(
        loader=FileSystemLoader(Path(__file__).parent),
        autoescape=True,
        undefined=StrictUndefined,
        trim_blocks=True,
        lstrip_blocks=True,
    )
    page = build_page(out_dir, report)
    text = templates.get_template(_TEMPLATE).render(page=page)
    target = out_dir / "report.html"
    handle, name = tempfile.mkstemp(prefix=".report.", suffix=".html", dir=out_dir)
    try:
        with os.fdopen(handle, "w", encoding="utf-8") as file:
            file.write(text)
        Path(name).chmod(0o644)
        Path(name).replace(target)
    finally:
        Path(name).unlink(missing_ok=True)
    return target
