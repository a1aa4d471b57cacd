"""The rehearsal's own pieces: what hosts are told, what is skipped, what is found."""

from __future__ import annotations

import json
from dataclasses import replace
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from livedub.media_cache.host_environment import write_environment
from local.aws.deployment import DeploymentError
from local.aws.overlay.skipped_types import SKIPPED
from local.rehearsal.cdk_command import skipped
from local.rehearsal.deployed import DeployedEnvironment, exported, read_environment
from local.rehearsal.tls_rotation import Rotation
from local.rehearsal.token_change import TokenChange
from local.rehearsal.verdict import Verdict

VALUES = st.text(
    st.characters(min_codepoint=0x20, max_codepoint=0x17F, exclude_categories=["Cc"]), min_size=1
)


def test_the_variables_that_a_script_exports_are_read_as_a_shell_reads_them():
    script = "set -eu\nexport NAMESPACE='livedub/local'\nexport A=1 B=\"two words\"\n  export INDENTED=no\nexport C\n"
    assert exported(script) == {"NAMESPACE": "livedub/local", "A": "1", "B": "two words"}


@given(value=VALUES.filter(lambda value: value.strip() == value))
@pytest.mark.hypothesis
async def test_a_host_s_variables_are_read_as_they_were_written(
    value: str, tmp_path_factory: pytest.TempPathFactory
):
    file = tmp_path_factory.mktemp("etc") / "host.env"
    write_environment(file, {"A": value, "B": "plain"}, ["A", "B"])
    assert await read_environment(file) == {"A": value, "B": "plain"}


def test_an_output_is_found_by_its_stack_and_a_missing_one_is_named():
    deployed = DeployedEnvironment("http://localhost:1", {"livedub-local-state": {"StreamsTable": "streams"}})
    assert deployed.output("state", "StreamsTable") == "streams"
    with pytest.raises(DeploymentError, match="media has no output MediaInstance"):
        deployed.output("media", "MediaInstance")


def test_what_does_nothing_here_is_counted_with_what_covers_it(tmp_path: Path):
    kinds = ["AWS::SQS::QueuePolicy", "AWS::SQS::Queue", "AWS::SQS::QueuePolicy", "AWS::SSM::Association"]
    template = {"Resources": {f"R{number}": {"Type": kind} for number, kind in enumerate(kinds)}}
    (tmp_path / "one.template.json").write_text(json.dumps(template))
    lines = skipped(tmp_path)
    assert [line.partition(":")[0] for line in lines] == ["AWS", "AWS"]
    assert lines[0].startswith("AWS::SQS::QueuePolicy (2): ")
    assert all(SKIPPED[line.partition(" ")[0]].covered_by in line for line in lines)


def rotation(**changes: object) -> Rotation:
    usual = {
        "order": "key first",
        "took_s": 9.0,
        "served": True,
        "bundle_updated": True,
        "executions": {"one": "SUCCEEDED"},
        "requests": 100,
        "failures": (),
    }
    return Rotation(**{**usual, **changes})  # pyright: ignore[reportArgumentType]


def test_a_rotation_is_well_only_where_nobody_noticed_and_all_of_it_happened():
    assert rotation().well
    for changes, word in (
        ({"served": False}, "not served"),
        ({"bundle_updated": False}, "bundles"),
        ({"executions": {"one": "FAILED"}}, "one FAILED"),
        ({"failures": ("refused",)}, "1 of 100 requests failed"),
        ({"requests": 0}, "0 of 0"),
        ({"executions": {}}, "0 of 100"),
    ):
        bad = rotation(**changes)
        assert not bad.well
        assert word in bad.words


def test_a_verdict_without_checks_is_none_and_one_that_fails_spoils_it():
    verdict = Verdict()
    assert not verdict.well
    verdict.note("deployment", "8 stacks", well=True)
    with verdict.timed("deployment"):
        pass
    assert verdict.well
    assert verdict.lines()[-1] == "rehearsal: verified"
    verdict.note("stream", "onset", well=False)
    assert not verdict.well
    assert verdict.lines()[-1] == "rehearsal: NOT verified"
    assert any(line.strip().startswith("NOT  stream") for line in verdict.lines())


def test_a_token_is_changed_well_only_where_nobody_noticed_and_the_old_one_is_over():
    usual = TokenChange(took_s=3.0, new_is_used=True, old_is_over=True, requests=100, failures=())
    assert usual.well
    assert usual.words == "0 of 100 requests failed, 3 s"
    for changes, word in (
        ({"new_is_used": False}, "do not write with the new token"),
        ({"old_is_over": False}, "still accepted"),
        ({"failures": ("refused",)}, "refused"),
        ({"requests": 0}, "0 of 0"),
    ):
        bad = replace(usual, **changes)
        assert not bad.well
        assert word in bad.words
