from __future__ import annotations

import json

import pytest

from local.aws.event_target import target_input
from local.aws.rate import rate_s

EVENT = {
    "id": "1",
    "detail-type": "Changed",
    "source": "aws.states",
    "detail": {"name": 'a "b"', "count": 3, "list": [1]},
}


def test_a_plain_target_gets_the_event():
    assert json.loads(target_input({"Arn": "x"}, EVENT)) == EVENT


def test_a_constant_wins():
    assert target_input({"Input": '{"a":1}'}, EVENT) == '{"a":1}'


def test_a_path_takes_a_part():
    assert json.loads(target_input({"InputPath": "$.detail"}, EVENT)) == EVENT["detail"]
    assert json.loads(target_input({"InputPath": "$.detail-type"}, EVENT)) == "Changed"


def test_a_template_is_filled_in_and_outside_of_strings():
    transformer = {
        "InputPathsMap": {"name": "$.detail.name", "count": "$.detail.count", "kind": "$.detail-type"},
        "InputTemplate": '{"text": "<kind>: <name>", "name": <name>, "count": <count>, "gone": "<other>"}',
    }
    assert json.loads(target_input({"InputTransformer": transformer}, EVENT)) == {
        "text": 'Changed: a "b"',
        "name": 'a "b"',
        "count": 3,
        "gone": "<other>",
    }


def test_a_template_can_hold_the_whole_event():
    transformer = {"InputTemplate": '{"event": <aws.events.event.json>}'}
    assert json.loads(target_input({"InputTransformer": transformer}, EVENT)) == {"event": EVENT}


@pytest.mark.parametrize(
    ("expression", "seconds"),
    [
        ("rate(1 minute)", 60.0),
        ("rate(5 minutes)", 300.0),
        ("rate(2 hours)", 7_200.0),
        ("rate(1 day)", 86_400.0),
        ("rate(0 minutes)", None),
        ("rate(1 second)", None),
        ("cron(0 * * * ? *)", None),
        ("", None),
    ],
)
def test_rates(expression: str, seconds: float | None):
    assert rate_s(expression) == seconds
