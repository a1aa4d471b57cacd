"""What a target of an EventBridge rule receives: the event, a part of it, a constant or a template."""

from __future__ import annotations

import json
import re
from collections.abc import Mapping
from typing import Any

from jsonpath_ng.ext.parser import parse

_PLACE = re.compile(r"<([^<>\s]+)>")


def target_input(target: Mapping[str, Any], event: Mapping[str, Any]) -> str:
    """The JSON text that a target with Input, InputPath or InputTransformer gets; else the whole event."""
    if "Input" in target:
        return str(target["Input"])
    if target.get("InputPath"):
        return json.dumps(_at(target["InputPath"], event))
    transformer = target.get("InputTransformer")
    if transformer:
        return _filled(transformer, event)
    return json.dumps(event)


def _filled(transformer: Mapping[str, Any], event: Mapping[str, Any]) -> str:
    values = {name: _at(path, event) for name, path in transformer.get("InputPathsMap", {}).items()}
    values["aws.events.event.json"] = event
    template = transformer["InputTemplate"]

    def fill(found: re.Match[str]) -> str:
        name = found[1]
        if name not in values:
            return found[0]
        value = values[name]
        if not _inside_string(template, found.start()):
            return json.dumps(value)
        text = value if isinstance(value, str) else json.dumps(value)
        return json.dumps(text)[1:-1]

    return _PLACE.sub(fill, template)


def _inside_string(template: str, position: int) -> bool:
    return len(re.findall(r'(?<!\\)"', template[:position])) % 2 == 1


def _at(path: str, event: Mapping[str, Any]) -> Any:
    # Names with dashes (detail-type) are legal in EventBridge's paths; jsonpath wants them quoted.
    quoted = re.sub(r"\.([A-Za-z0-9_]*-[A-Za-z0-9_-]*)", r".'\1'", path)
    found = parse(quoted).find(event)
    return found[0].value if found else None
