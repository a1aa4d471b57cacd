"""The estimate as Markdown: docs/cost.md, and what `python -m infra.cost` prints."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass

from infra.cost_idle import IdleMonth, IdleUse
from infra.cost_lines import HOURS_PER_MONTH, Line, Prices, total
from infra.cost_stream import Fleet, StreamUse, reader_hour, stream_hour

STREAMS = (1, 10, 50)

_HEAD = """# What it costs

Computed by `python -m infra.cost` from what `infra/config.py` deploys (counted in the synthesized templates) and the prices of
`infra/prices.json`: {region}, {currency}, on demand, without tax, discounts and free tiers. This page is written by
`python -m infra.cost --write`; a test compares it. One environment, other settings, other numbers of streams:

    python -m infra.cost -c environment=prod -c sts_source=gpu_host --streams 1,20
"""


@dataclass(frozen=True, slots=True)
class Estimate:
    """Of one environment."""

    environment: str
    idle: IdleMonth
    fleet: Fleet


def page(estimates: Sequence[Estimate], prices: Prices) -> str:
    """docs/cost.md."""
    last = estimates[-1]
    sections = (
        _HEAD.format(region=prices.region, currency="USD"),
        "## A month in which nobody streams\n",
        idle_table(estimates),
        f"""
A month has {HOURS_PER_MONTH} hours. `in use` is what runs without a stream: schedules, path lists of the relay
(every {IdleUse().relay_report_period_s:g} s), their logs, and {IdleUse().custom_metrics} metrics of our own. What lies in buckets and
tables, and what was written to volumes between two of their snapshots, comes on top, by the gigabyte. Least numbers of hosts,
NAT gateways and endpoints are most of it:
`workers.min_hosts`, `network.nat_gateways` and `media_cache` decide.

## An hour of a stream

Per stream, in `{last.environment}`, by how many streams are on at once. *Share of the month* is what the month costs in an hour,
divided by them:
""",
        stream_table(last, prices, STREAMS),
        _assumptions(last.fleet, prices),
        "## Prices that were used\n",
        _price_table(estimates, prices),
    )
    return "\n".join(sections)


def idle_table(estimates: Sequence[Estimate]) -> str:
    """Parts and items, a column an environment."""
    names = [estimate.environment for estimate in estimates]
    amounts: dict[tuple[str, str], dict[str, float]] = {}
    for estimate in estimates:
        for line in estimate.idle.lines:
            of_item = amounts.setdefault((line.part, line.item), {})
            of_item[estimate.environment] = of_item.get(estimate.environment, 0.0) + line.usd
    rows = [
        [part, item, *(_usd(of_item.get(name, 0.0)) for name in names)]
        for (part, item), of_item in sorted(amounts.items(), key=lambda entry: entry[0][0] == "in use")
    ]
    rows.append(["**all**", "", *(f"**{_usd(total(estimate.idle.lines))}**" for estimate in estimates)])
    left_out = sorted({kind for estimate in estimates for kind in estimate.idle.not_counted})
    note = (
        f"\nNot counted, for nothing here knows what it costs: {', '.join(left_out)}.\n" if left_out else ""
    )
    return _table(["part", "what", *(f"{name}, USD" for name in names)], rows) + note


def stream_table(of: Estimate, prices: Prices, streams: Sequence[int]) -> str:
    """Lines of an hour, a column for each number of streams."""
    columns = [stream_hour(number, of.fleet, prices) for number in streams]
    rows = [
        [first.part, first.item, *(_usd(column[index].usd, 4) for column in columns)]
        for index, first in enumerate(columns[0])
    ]
    hourly = total(of.idle.lines) / HOURS_PER_MONTH
    shares = [hourly / number for number in streams]
    on_top = [total(column) for column in columns]
    rows += [
        ["**on top of the month**", "", *(f"**{_usd(usd, 4)}**" for usd in on_top)],
        ["share of the month", "", *(_usd(usd, 4) for usd in shares)],
        ["**all**", "", *(f"**{_usd(sum(both), 4)}**" for both in zip(on_top, shares, strict=True))],
    ]
    heads = [f"{number} {'stream' if number == 1 else 'streams'}, USD" for number in streams]
    return _table(["part", "what", *heads], rows)


def _assumptions(fleet: Fleet, prices: Prices) -> str:
    use = StreamUse()
    reader = reader_hour(prices)
    return f"""
With {use.bitrate_bps / 1e6:g} Mbit/s a stream, one target language, {fleet.slots} streams a worker host ({fleet.worker_type}) and
{use.streams_per_gpu} streams a GPU. **No GPU has been measured yet** ([gpu.md](gpu.md#figures)): the share of GPUs is an assumption, and the
largest line; a worker of RunPod is paid from its start to its idle time-out, so one that serves a single stream is
paid whole. A worker that RunPod keeps (`workers.min` of `runpod-endpoint.json`) costs its seconds all month and is in neither
table. Half of the traffic between media server and
workers is taken to cross availability zones. Each reader outside of AWS, such as a CDN that pulls `out`, adds {_usd(reader.usd, 2)} USD an
hour ({reader.quantity:.1f} GB).
"""


def _price_table(estimates: Iterable[Estimate], prices: Prices) -> str:
    used: dict[str, None] = {}
    for estimate in estimates:
        lines: list[Line] = [
            *estimate.idle.lines,
            *stream_hour(1, estimate.fleet, prices),
            reader_hour(prices),
        ]
        used |= dict.fromkeys(line.price for line in lines)
    rows = [
        [
            f"`{name}`",
            f"{prices[name].usd:.10f}".rstrip("0").rstrip("."),
            prices[name].per,
            prices[name].as_of,
        ]
        for name in sorted(used)
    ]
    return _table(["price", "USD", "per", "seen published"], rows)


def _table(heads: Sequence[str], rows: Iterable[Sequence[str]]) -> str:
    numbers = ["---:" if "USD" in head else "---" for head in heads]
    return "".join(f"| {' | '.join(row)} |\n" for row in (heads, numbers, *rows))


def _usd(amount: float, digits: int = 2) -> str:
    return f"{amount:,.{digits}f}"


def by_part(lines: Iterable[Line]) -> Mapping[str, float]:
    """US dollars of each part."""
    parts: dict[str, float] = {}
    for line in lines:
        parts[line.part] = parts.get(line.part, 0.0) + line.usd
    return parts
