"""What an hour of a stream adds to the month, by how many streams are on at once."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass

from infra.cost_lines import Line, Prices

_BITS_PER_GB = 8e9
_PCM_BITS_PER_SAMPLE = 16


@dataclass(frozen=True, slots=True)
class StreamUse:
    """What one stream uses. Assumptions; change them where yours differ.

    Attributes:
        bitrate_bps: of the stream, pictures and sound.
        cross_zone_share: of what worker hosts and media server send each other, that crosses availability zones: workers
            are in two, the media server in one of them.
        source_hz, dub_hz: sample rates of what STS gets and answers, mono.
        flac_ratio: size of FLAC over PCM, for speech.
        streams_per_gpu: that one GPU keeps up with. No GPU was measured yet (docs/gpu.md, Figures).
        beats_per_hour: renewals of a lease, each one write of the stream's row.
        row_kb: size of that row, in write units.
        calls_per_hour: of functions, for hooks, admission and steps of the state machine.
        transitions_per_hour: of the state machine, with a run an hour.
        function_gb_s: of one call.
    """

    bitrate_bps: float = 6e6
    cross_zone_share: float = 0.5
    source_hz: int = 16_000
    dub_hz: int = 24_000
    flac_ratio: float = 0.6
    streams_per_gpu: int = 10
    beats_per_hour: int = 360
    row_kb: int = 5
    calls_per_hour: int = 20
    transitions_per_hour: int = 8
    function_gb_s: float = 0.05


@dataclass(frozen=True, slots=True)
class Fleet:
    """What dubs.

    Attributes:
        worker_type: instance type of worker hosts.
        slots: streams one worker host dubs at once.
        always_hosts: worker hosts that the month pays already.
        gpu_price: price of one GPU.
        gpu_units_per_hour: units of that price in an hour: 3600 where it is by the second.
        always_gpus: GPUs that the month pays already.
        by_internet: whether fragments leave the VPC for it.
    """

    worker_type: str
    slots: int
    always_hosts: int
    gpu_price: str
    gpu_units_per_hour: float
    always_gpus: int
    by_internet: bool


def stream_hour(streams: int, fleet: Fleet, prices: Prices, use: StreamUse | None = None) -> list[Line]:
    """What an hour of one of `streams` streams that are on at once adds to the month.

    Hosts and GPUs beyond those that are always there are shared, what is by use is not.

    Raises:
        ConfigurationError: something has no price.
    """
    use = use or StreamUse()
    return [
        prices.line(part, item, quantity, price)
        for part, item, quantity, price in (
            *_hosts(streams, fleet, use),
            *_traffic(fleet, use),
            *_control(use),
        )
    ]


def reader_hour(prices: Prices, use: StreamUse | None = None) -> Line:
    """One reader outside of AWS, such as a CDN that pulls `out`, for an hour."""
    gb = _gb_per_hour((use or StreamUse()).bitrate_bps)
    return prices.line("media", "sent to one reader outside of AWS", gb, "transfer.internet_out")


def _hosts(streams: int, fleet: Fleet, use: StreamUse) -> Iterator[tuple[str, str, float, str]]:
    hosts = max(0, -(-streams // fleet.slots) - fleet.always_hosts)
    yield "workers", "share of further worker hosts", hosts / streams, f"ec2.{fleet.worker_type}"
    gpus = max(0, -(-streams // use.streams_per_gpu) - fleet.always_gpus)
    yield "sts", "share of GPUs", gpus * fleet.gpu_units_per_hour / streams, fleet.gpu_price


def _traffic(fleet: Fleet, use: StreamUse) -> Iterator[tuple[str, str, float, str]]:
    # The original one way, the dub the other; each costs at both ends.
    crossing = 2 * 2 * use.cross_zone_share * _gb_per_hour(use.bitrate_bps)
    yield "media", "between availability zones", crossing, "transfer.between_zones"
    if fleet.by_internet:
        sent, received = (_fragments_gb(rate, use) for rate in (use.source_hz, use.dub_hz))
        yield "sts", "fragments and dubs through the NAT gateway", sent + received, "vpc.nat_data"
        yield "sts", "fragments sent to STS", sent, "transfer.internet_out"


def _control(use: StreamUse) -> Iterator[tuple[str, str, float, str]]:
    yield "control-plane", "renewals of the lease", use.beats_per_hour * use.row_kb, "dynamodb.write"
    yield "control-plane", "steps of the state machine", use.transitions_per_hour, "states.transition"
    yield "control-plane", "functions", use.calls_per_hour * use.function_gb_s, "lambda.compute"


def _gb_per_hour(bits_per_s: float) -> float:
    return bits_per_s * 3_600 / _BITS_PER_GB


def _fragments_gb(rate_hz: int, use: StreamUse) -> float:
    """FLAC in base64 in JSON, an hour of speech."""
    return _gb_per_hour(rate_hz * _PCM_BITS_PER_SAMPLE * use.flac_ratio * 4 / 3)
