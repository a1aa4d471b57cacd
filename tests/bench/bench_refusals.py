"""How long a refusal takes: `python tests/bench/bench_refusals.py [--runs N] [--out FILE]` prints JSON.

Every bad input of the contract tests goes to a service with mock engines in a process of its own, over a kept
connection on loopback; the time runs from the first byte sent to the last byte of the answer. The body of 25 MB is
announced, not sent: its refusal must not wait for it.
"""

from __future__ import annotations

import argparse
import json
import socket
import statistics
import time
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit

import httpx

from livedub.sts.contract import StsResult
from tests.bench.bench_sts_http import mock_service
from tests.bench.machine_load import Bystanders, machine
from tests.contract.bad_input import cases, good_document

PROCESS = "/api/v1/sts/process"
KEY = "key-of-the-refusals"
LARGE_BYTES = 25 * 1024 * 1024


def refusal_ms(http: httpx.Client, body: bytes, **headers: str) -> tuple[float, StsResult]:
    started_s = time.perf_counter()
    answer = http.post(PROCESS, content=body, headers=headers)
    took_ms = (time.perf_counter() - started_s) * 1_000
    return took_ms, StsResult.model_validate_json(answer.content)


def announced_ms(url: str) -> float:
    """From a head that announces 25 MB to the status line of its refusal."""
    address = urlsplit(url)
    with socket.create_connection((address.hostname or "", address.port or 0), 10) as connection:
        head = f"POST {PROCESS} HTTP/1.1\r\nhost: sts\r\nauthorization: Bearer {KEY}\r\ncontent-length: {LARGE_BYTES}\r\n\r\n"
        started_s = time.perf_counter()
        connection.sendall(head.encode())
        status = connection.recv(1_024)
        took_ms = (time.perf_counter() - started_s) * 1_000
    if b" 413 " not in status:
        raise RuntimeError(f"25 MB were answered {status!r}")
    return took_ms


def measure(runs: int = 5) -> dict[str, Any]:
    """Every case `runs` times; the median of each counts."""
    authorization = f"Bearer {KEY}"
    good = good_document()
    others = {
        "wrong token": (json.dumps(good).encode(), "Bearer wrong"),
        "expired deadline": (json.dumps({**good, "deadline_ms": 1}).encode(), authorization),
        "no JSON": (b"{" * 100_000, authorization),
    }
    bodies = {bad.name: (bad.body(), authorization) for bad in cases()} | others
    bystanders = Bystanders()
    rows: list[dict[str, Any]] = []
    with (
        mock_service("ERROR", STS_API_KEY=KEY) as url,
        httpx.Client(base_url=url, timeout=30, trust_env=False) as http,
    ):
        for name, (body, given) in bodies.items():
            taken = [refusal_ms(http, body, authorization=given) for _ in range(runs)]
            error = taken[0][1].error
            if error is None:
                raise RuntimeError(f"{name} was not refused")
            median_ms = statistics.median(took_ms for took_ms, _ in taken)
            rows.append(
                {
                    "case": name,
                    "code": error.code.value,
                    "body_bytes": len(body),
                    "median_ms": round(median_ms, 2),
                }
            )
        announced = statistics.median(announced_ms(url) for _ in range(runs))
        rows.append(
            {"case": "25 MB announced", "code": "413", "body_bytes": 0, "median_ms": round(announced, 2)}
        )
    rows.sort(key=lambda row: row["median_ms"], reverse=True)
    return {
        "what": "time of a refusal over HTTP",
        "machine": machine(),
        "cores_used_by_others": bystanders.cores,
        "cases": len(rows),
        "median_ms": statistics.median(row["median_ms"] for row in rows),
        "slowest": rows[:12],
    }


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--runs", type=int, default=5, help="per case (default 5)")
    parser.add_argument("--out", type=Path, help="write the JSON here as well")
    options = parser.parse_args()
    text = json.dumps(measure(options.runs), indent=2)
    if options.out:
        options.out.parent.mkdir(parents=True, exist_ok=True)
        options.out.write_text(text + "\n")
    print(text)  # noqa: T201 - its output


if __name__ == "__main__":
    main()
