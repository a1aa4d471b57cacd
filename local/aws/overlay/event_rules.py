"""EventBridge: rules reach Lambda, Step Functions and SQS, and schedules really fire."""

from __future__ import annotations

import copy
import json
import logging
import time
import uuid
from collections.abc import Callable
from typing import Any

from moto.events.models import Rule, events_backends
from moto.sqs.models import sqs_backends
from moto.stepfunctions.parser.models import stepfunctions_parser_backends

from local.aws.event_target import target_input
from local.aws.http_event import ACCOUNT_ID
from local.aws.overlay.lambda_functions import find_function, spec_of
from local.aws.overlay.patching import Patch
from local.aws.rate import rate_s
from local.aws.runtime import Runtime

_LOG = logging.getLogger(__name__)
_TICK_S = 1.0


def patches(runtime: Runtime) -> list[Patch]:
    """The patch of EventBridge."""
    return [
        Patch(
            "moto.events.models:Rule.send_to_targets",
            "472e002e2dab",
            "moto's PutEvents fails with 500 on a Lambda or Step Functions target, ignores Input and InputPath, and "
            "fires rules that have a schedule alone",
            lambda original: _send_to_targets(original, runtime),
        ),
    ]


def _send_to_targets(original: Any, runtime: Runtime) -> Any:
    deliver = _deliveries(runtime)

    def send_to_targets(self: Rule, original_event: Any, transform_input: bool = True) -> None:  # noqa: FBT001, FBT002 - moto's signature
        # An empty pattern matches everything in moto, but a rule without one listens to nothing: it is a schedule.
        listens = bool(self.event_pattern.get_pattern())
        if self.state != "ENABLED" or not listens or not self.event_pattern.matches_event(original_event):
            return
        event = _wire_event(original_event)
        for target in list(self.targets):
            service = target["Arn"].split(":")[2]
            if service in deliver:
                _deliver(deliver[service], target, event, self.name)
            else:
                alone = copy.copy(self)
                alone.targets = [target]
                original(alone, original_event, transform_input)

    return send_to_targets


def _deliver(
    deliver: Callable[[str, str, Any], None], target: dict[str, Any], event: Any, rule_name: str
) -> None:
    # PutEvents answers the same whatever becomes of the targets; one that fails must not hide the others.
    try:
        deliver(target["Arn"], target_input(target, event), target)
    except Exception:  # noqa: BLE001 - whatever moto raises
        _LOG.exception("rule %s could not reach %s", rule_name, target["Arn"])


def _deliveries(runtime: Runtime) -> dict[str, Callable[[str, str, Any], None]]:
    def to_function(arn: str, text: str, _target: Any) -> None:
        function = find_function(arn, arn.split(":")[3])
        runtime.functions.call_later(spec_of(function, runtime), text.encode())

    def to_state_machine(arn: str, text: str, _target: Any) -> None:
        _, _, _, region, account, *_ = arn.split(":")
        stepfunctions_parser_backends[account][region].start_execution(arn, str(uuid.uuid4()), text)

    def to_queue(arn: str, text: str, target: Any) -> None:
        _, _, _, region, account, name = arn.split(":")
        sqs_backends[account][region].send_message(
            queue_name=name,
            message_body=text,
            group_id=target.get("SqsParameters", {}).get("MessageGroupId"),
        )

    return {"lambda": to_function, "states": to_state_machine, "sqs": to_queue}


def _wire_event(event: Any) -> dict[str, Any]:
    # moto keeps the time as a number, and adds a field that targets do not get.
    wire = {name: value for name, value in event.items() if name != "ingestion-time"}
    if isinstance(wire.get("time"), (int, float)):
        wire["time"] = _iso(wire["time"])
    return wire


def _iso(moment_s: float) -> str:
    return time.strftime("%Y-%m-%dT%H:%M:%SZ", time.gmtime(moment_s))


class Schedules:
    """Fires the rules that have a rate; the first time one period after it was seen enabled."""

    def __init__(self, runtime: Runtime) -> None:
        self._runtime = runtime
        self._deliver = _deliveries(runtime)
        self._due: dict[tuple[str, str], float] = {}
        self._warned: set[str] = set()

    def start(self) -> None:
        """Look at the rules every second (divided by the speed) from now on."""
        self._runtime.background.later(_TICK_S, self._tick)

    def _tick(self) -> None:
        try:
            self._fire_due(time.monotonic() * self._runtime.background.speed)
        finally:
            self._runtime.background.later(_TICK_S, self._tick)

    def _fire_due(self, now_s: float) -> None:
        rules = {(rule.arn, str(rule.scheduled_expression)): rule for rule in _scheduled_rules()}
        self._due = {key: due for key, due in self._due.items() if key in rules}
        for key, rule in rules.items():
            period_s = rate_s(key[1])
            if period_s is None:
                self._warn(key[1])
                continue
            due_s = self._due.setdefault(key, now_s + period_s)
            if now_s >= due_s:
                # What was missed is missed: two periods late fires once.
                self._due[key] = max(due_s + period_s, now_s)
                self._fire(rule)

    def _fire(self, rule: Rule) -> None:
        event = {
            "version": "0",
            "id": str(uuid.uuid4()),
            "detail-type": "Scheduled Event",
            "source": "aws.events",
            "account": rule.account_id,
            "time": _iso(time.time()),
            "region": rule.region_name,
            "resources": [rule.arn],
            "detail": {},
        }
        for target in list(rule.targets):
            deliver = self._deliver.get(target["Arn"].split(":")[2])
            if deliver is not None:
                _deliver(deliver, target, event, rule.name)

    def _warn(self, expression: str) -> None:
        if expression not in self._warned:
            self._warned.add(expression)
            _LOG.warning("schedule %s never fires here: only rate(...) does", expression)


def _scheduled_rules() -> list[Rule]:
    return [
        rule
        for backend in list(events_backends[ACCOUNT_ID].values())
        for bus in list(backend.event_buses.values())
        for rule in list(bus.rules.values())
        if rule.scheduled_expression and rule.state == "ENABLED"
    ]


def put_event(account_id: str, region: str, *, source: str, kind: str, resource: str, detail: Any) -> None:
    """Put an event of an AWS service on the default bus."""
    resources = [resource] if resource else []
    entry = {"Source": source, "DetailType": kind, "Resources": resources, "Detail": json.dumps(detail)}
    events_backends[account_id][region].put_events([entry])
