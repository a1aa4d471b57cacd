"""The bars a stream is held to: one table, each row a predicate of the report."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, replace
from typing import Any, Literal

AT_LEAST: Literal["at least"] = "at least"
AT_MOST: Literal["at most"] = "at most"
WITHIN: Literal["within"] = "within"


@dataclass(frozen=True, slots=True)
class Bar:
    """`field` (dotted, of the report) must be `relation` `value`; `within` bounds its size whatever its sign.

    Without a figure for a `core` bar nothing is verified.
    """

    name: str
    field: str
    relation: Literal["at least", "at most", "within"]
    value: float
    unit: str
    meaning: str
    core: bool = False

    def passes(self, figure: float) -> bool:
        """Whether a figure clears the bar."""
        if self.relation == AT_LEAST:
            return figure >= self.value
        return (abs(figure) if self.relation == WITHIN else figure) <= self.value


BARS: tuple[Bar, ...] = (
    Bar(
        "video_untouched",
        "video.identical_share",
        AT_LEAST,
        1.0,
        "",
        "NAL units of the output that are those of the input (parameter sets and delimiters aside)",
        core=True,
    ),
    Bar(
        "video_complete",
        "video.overlap",
        AT_LEAST,
        0.95,
        "",
        "share of the frames due that are in the output",
        core=True,
    ),
    Bar(
        "delay_constant",
        "video.offset_max_dev_ms",
        AT_MOST,
        1.0,
        "ms",
        "change of output minus input PTS (the container rounds to 1 ms)",
        core=True,
    ),
    Bar(
        "delay_as_configured",
        "delay_error_ms",
        WITHIN,
        1.0,
        "ms",
        "difference between D measured on the wire and D configured",
    ),
    Bar(
        "video_delay_median",
        "video_delay.median_error_ms",
        WITHIN,
        60.0,
        "ms",
        "distance of the median wall-clock delay from D",
    ),
    Bar(
        "video_delay_steady",
        "video_delay.p99_dev_ms",
        AT_MOST,
        60.0,
        "ms",
        "distance of the wall-clock delay from D that 99 % of the frames stay within",
    ),
    Bar("sync_median", "sync.median_ms", WITHIN, 5.0, "ms", "median A/V offset of flash and beep"),
    Bar(
        "sync_every_event", "sync.max_abs_ms", AT_MOST, 25.0, "ms", "largest A/V offset of any flash and beep"
    ),
    Bar("audio_aligned", "audio.lag_ms", WITHIN, 5.0, "ms", "lag of audio against video, by correlation"),
    Bar("audio_no_holes", "audio.holes", AT_MOST, 0, "", "holes in the output's audio", core=True),
    Bar("dub_share", "fragments.dub_share", AT_LEAST, 0.95, "", "fragments with speech that aired as dub"),
    Bar("onset", "onset_error.p95_ms", AT_MOST, 150.0, "ms", "dubbed onset against source onset + D, p95"),
    Bar(
        "readiness",
        "readiness_margin.p5_ms",
        AT_LEAST,
        500.0,
        "ms",
        "margin before the mixer's deadline, 5th percentile",
    ),
    Bar(
        "translation_recall",
        "translation_recall",
        AT_LEAST,
        0.6,
        "",
        "content words of the reference translation heard in the output",
    ),
    Bar("mixed_wer", "mixed_wer", AT_MOST, 0.20, "", "WER of the mixed output against what was synthesised"),
    Bar("back_wer", "back_wer", AT_MOST, 0.10, "", "WER of the dry dub against what was synthesised"),
    Bar(
        "background_kept",
        "background_si_sdr_db",
        AT_LEAST,
        6.0,
        "dB",
        "SI-SDR of the background against the known music, where speech was",
    ),
)

RTSP_BARS: tuple[Bar, ...] = tuple(
    replace(bar, value=10.0) if bar.name in {"sync_median", "audio_aligned"} else bar for bar in BARS
)
"""The same where the source came over RTSP, whose sender reports place audio and video less exactly."""


@dataclass(frozen=True, slots=True)
class Check:
    """A bar held against its figure; `passed` is None where there is no figure."""

    bar: Bar
    figure: float | None
    passed: bool | None


def judge(figures: Mapping[str, Any], bars: tuple[Bar, ...]) -> list[Check]:
    """Hold a report's figures (a nested mapping) against every bar."""
    checks: list[Check] = []
    for bar in bars:
        figure = _lookup(figures, bar.field)
        checks.append(Check(bar, figure, None if figure is None else bar.passes(figure)))
    return checks


def verified(checks: list[Check]) -> bool:
    """Nothing failed, and every core bar had a figure."""
    return all(
        check.passed is not False and not (check.bar.core and check.passed is None) for check in checks
    )


def _lookup(figures: Mapping[str, Any], field: str) -> float | None:
    value: Any = figures
    for part in field.split("."):
        if value is None:
            return None
        value = value[part]
    return None if value is None else float(value)
