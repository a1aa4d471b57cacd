"""A StreamRecord as a DynamoDB item and back: native types, so that the state machine can address `lease.task_token`."""

from __future__ import annotations

import functools
import math
import re
from collections.abc import Mapping, Sequence
from enum import Enum
from typing import Any, cast

from pydantic import TypeAdapter, ValidationError

from livedub.errors import InvalidInputError
from livedub.supervision.record import StreamRecord
from livedub.supervision.store_errors import CorruptRecordError

Attribute = dict[str, Any]
"""One value with its type: `{"S": "text"}`, `{"N": "12"}`, `{"M": {...}}`."""
Item = dict[str, Attribute]

_INTEGER = re.compile(r"-?\d+")


def to_item(record: StreamRecord) -> Item:
    """The item that holds `record`.

    Raises:
        InvalidInputError: a setting or the timeline holds what DynamoDB cannot (a number that is not finite, bytes).
    """
    fields = _adapter().dump_python(record)
    return {name: _attribute(value, name) for name, value in fields.items()}


def from_item(item: Mapping[str, Attribute]) -> StreamRecord:
    """The record that an item holds.

    Raises:
        CorruptRecordError: the item is no record.
    """
    try:
        return _adapter().validate_python({name: _value(attribute) for name, attribute in item.items()})
    except (ValidationError, ValueError, TypeError) as error:
        # Only where and why, and no cause: the values include the task token.
        what = (
            "; ".join(f"{'.'.join(map(str, e['loc']))}: {e['msg']}" for e in error.errors())
            if isinstance(error, ValidationError)
            else type(error).__name__
        )
        raise CorruptRecordError(
            f"The row of stream {_name_of(item)!r} cannot be read: {what}.",
            remedy="Deploy the livedub that wrote it, or repair the row.",
        ) from None


@functools.cache
def _adapter() -> TypeAdapter[StreamRecord]:
    return TypeAdapter(StreamRecord)


def _name_of(item: Mapping[str, Attribute]) -> str:
    return str(item.get("stream_id", {}).get("S", ""))


def _attribute(value: Any, name: str) -> Attribute:
    if isinstance(value, Mapping):
        entries = cast("Mapping[str, Any]", value)
        return {"M": {key: _attribute(entry, f"{name}.{key}") for key, entry in entries.items()}}
    if isinstance(value, list | tuple):
        return {"L": [_attribute(entry, name) for entry in cast("Sequence[Any]", value)]}
    return _scalar(value, name)


def _scalar(value: Any, name: str) -> Attribute:
    if value is None:
        return {"NULL": True}
    if isinstance(value, bool):
        return {"BOOL": value}
    if isinstance(value, Enum):
        return {"S": str(value.value)}
    if isinstance(value, str):
        return {"S": value}
    if isinstance(value, int | float) and math.isfinite(value):
        return {"N": repr(value)}
    raise InvalidInputError(f"{name} is {value!r}.", remedy="Use what JSON can hold, and finite numbers.")


def _value(attribute: Attribute) -> Any:
    kind, value = next(iter(attribute.items()))
    if kind == "NULL":
        return None
    if kind in {"S", "BOOL"}:
        return value
    if kind == "N":
        return int(value) if _INTEGER.fullmatch(value) else float(value)
    if kind == "M":
        return {key: _value(entry) for key, entry in value.items()}
    if kind == "L":
        return [_value(entry) for entry in value]
    raise ValueError(f"attribute type {kind}")
