"""The templates of `prod` as they were last agreed on, without what changes with every byte of code.

A test compares. `PYTHONPATH=.:layers/core/python .venv/bin/python tests/infra/test_snapshots.py` writes them anew; the
difference is what a deployment would change, and is read before it is committed.
"""

import json
import re
import sys
import tempfile
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from tests.infra.conftest import Part, Synthesized, built, given, synthesize_into

FOLDER = Path(__file__).parent / "snapshots"
PARTS = (
    "network",
    "state",
    "control-plane",
    "media",
    "workers",
    "media-cache",
    "media-library",
    "observability",
)
_CHANGES_WITH_CODE = (
    (re.compile(r"\b[0-9a-f]{64}\b"), "<digest of an asset>"),
    (re.compile(r"RELEASE_ID='[0-9a-f]{16}'"), "RELEASE_ID='<of the archives>'"),
)


def stable(part: Part) -> str:
    """The template as text: every digest of code masked, what only CDK reads left out."""
    template = {key: value for key, value in part.template.items() if key not in {"Parameters", "Rules"}}
    resources = {
        name: {key: value for key, value in resource.items() if key != "Metadata"}
        for name, resource in part.resources.items()
        if resource["Type"] != "AWS::CDK::Metadata"
    }
    text = json.dumps({**template, "Resources": resources})
    for changing, instead in _CHANGES_WITH_CODE:
        text = changing.sub(instead, text)
    return f"{json.dumps(json.loads(text, object_hook=_without_order), indent=1, sort_keys=True)}\n"


def _without_order(found: dict[str, Any]) -> dict[str, Any]:
    """What a statement is about has no order of its own: CDK sorts it by digests, too."""
    about = found.get("Resource")
    return {**found, "Resource": sorted(about, key=json.dumps)} if isinstance(about, list) else found


def read(part: str) -> str:
    return (FOLDER / f"{part}.json").read_text(encoding="utf-8")


@pytest.mark.parametrize("part", PARTS)
def test_the_template_is_as_it_was_agreed_on(part: str, prod: Synthesized):
    assert stable(prod.part(part)) == read(part), (
        "read the difference, then write it: see this file's first lines"
    )


def test_every_stack_has_its_snapshot(prod: Synthesized):
    assert set(prod.parts) == set(PARTS) == {path.stem for path in FOLDER.glob("*.json")}


@pytest.mark.parametrize(
    ("change", "seen"),
    [
        (lambda template: template["Resources"].popitem(), True),
        (lambda template: template["Resources"]["Function"]["Properties"].update(Timeout=4), True),
        (lambda template: template["Resources"]["Function"]["Properties"].update(Code="b" * 64), False),
        (lambda template: template["Resources"]["Function"]["Metadata"].update(path="elsewhere"), False),
    ],
)
def test_a_snapshot_sees_what_is_deployed_and_no_digest(
    tmp_path: Path, change: Callable[[dict[str, Any]], Any], seen: bool
):
    function = {
        "Type": "AWS::Lambda::Function",
        "Properties": {"Code": "a" * 64, "Timeout": 3},
        "Metadata": {"path": "here"},
    }
    template: dict[str, Any] = {"Resources": {"Function": function}}
    (tmp_path / "before.template.json").write_text(json.dumps(template))
    change(template)
    (tmp_path / "after.template.json").write_text(json.dumps(template))
    assert (stable(Part("before", tmp_path)) != stable(Part("after", tmp_path))) is seen


def test_no_digest_decides_what_comes_first(tmp_path: Path):
    def written(name: str, *digests: str) -> str:
        about = [
            {"Fn::Sub": f"{digest * 64}.{kind}"} for digest, kind in zip(digests, ("zip", "sh"), strict=True)
        ]
        policy = {"Type": "AWS::IAM::Policy", "Properties": {"Resource": sorted(about, key=json.dumps)}}
        (tmp_path / f"{name}.template.json").write_text(json.dumps({"Resources": {"Policy": policy}}))
        return stable(Part(name, tmp_path))

    assert written("before", "a", "b") == written("after", "b", "a")


def write() -> None:
    """Synthesize `prod` and keep its templates."""
    FOLDER.mkdir(exist_ok=True)
    with tempfile.TemporaryDirectory() as scratch:
        synthesized = synthesize_into(Path(scratch) / "out", given("prod"), built(Path(scratch) / "build"))
        for part in PARTS:
            (FOLDER / f"{part}.json").write_text(stable(synthesized.part(part)), encoding="utf-8")


if __name__ == "__main__":
    sys.exit(write())
