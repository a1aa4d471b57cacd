"""The real pipeline around mock engines that count what they are asked."""

from __future__ import annotations

from collections import Counter
from dataclasses import replace
from typing import Any

from gpu_handler.engines.registry import build_engines
from gpu_handler.pipeline import Pipeline
from gpu_handler.settings import StsSettings

WORK = ("spans", "transcribe", "translate", "synthesize", "natural_duration_ms")


class CountingEngine:
    """An engine that counts the calls which are work."""

    def __init__(self, engine: Any, calls: Counter[str]) -> None:
        self._engine = engine
        self._calls = calls

    def __getattr__(self, name: str) -> Any:
        found = getattr(self._engine, name)
        if name not in WORK:
            return found

        def counted(*arguments: Any, **options: Any) -> Any:
            self._calls[name] += 1
            return found(*arguments, **options)

        return counted


def counting_pipeline(calls: Counter[str]) -> Pipeline:
    """A pipeline, not yet loaded, whose engines' work shows in `calls`."""
    engines = build_engines(StsSettings(profile="mock"))
    names = ("detector", "transcriber", "translator", "synthesizer")
    return Pipeline(
        replace(engines, **{name: CountingEngine(getattr(engines, name), calls) for name in names})
    )
