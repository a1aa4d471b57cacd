"""Who may read which secret: of every role of every stack, by what its policies allow and not by what they are meant to."""

from __future__ import annotations

import re
from collections.abc import Iterator
from fnmatch import fnmatchcase
from typing import Any

import pytest

from tests.infra.conftest import Synthesized

HERE = {"AWS::Partition": "aws", "AWS::Region": "eu-west-1", "AWS::AccountId": "123456789012"}
OF_THE_HOST = "arn:aws:secretsmanager:eu-west-1:123456789012:secret:livedub/prod/media/secrets-AbCdEf"
OF_THE_WRITERS = "arn:aws:secretsmanager:eu-west-1:123456789012:secret:livedub/prod/voice/secrets-GhIjKl"


def as_list(value: Any) -> list[Any]:
    return value if isinstance(value, list) else [value]


def arns(prod: Synthesized) -> dict[tuple[str, str], str]:
    """By stack and logical id: what a reference to one of the two is."""
    return {
        ("media-cache", prod.part("media-cache").named("Material/Secret")[0]): OF_THE_HOST,
        ("state", prod.part("state").named("Voice/Secret")[0]): OF_THE_WRITERS,
    }


def written(prod: Synthesized, part: str, value: Any) -> str:
    """What IAM sees in place of `value`; of what has no name before it is made, something that matches nothing."""
    if isinstance(value, str):
        return value
    part, made = prod.origin(part, value)
    if isinstance(made, str):
        return made
    if "Fn::Join" in made:
        between, pieces = made["Fn::Join"]
        return between.join(written(prod, part, piece) for piece in pieces)
    if "Fn::Sub" in made:
        return re.sub(
            r"\$\{([\w:]+)\}", lambda found: written(prod, part, {"Ref": found[1]}), made["Fn::Sub"]
        )
    referred = made.get("Ref") or made["Fn::GetAtt"][0]
    return HERE.get(referred) or arns(prod).get((part, referred), f"<{referred}>")


def policies(prod: Synthesized) -> Iterator[tuple[str, str, dict[str, Any]]]:
    """Part, role and document; policies of roles as well as those that stand alone."""
    for part_name, part in prod.parts.items():
        for resource in part.of_type("AWS::IAM::Policy").values():
            for role in resource["Properties"].get("Roles", []):
                yield part_name, role["Ref"], resource["Properties"]["PolicyDocument"]
        for name, resource in part.of_type("AWS::IAM::ManagedPolicy").items():
            yield part_name, name, resource["Properties"]["PolicyDocument"]
        for name, resource in part.of_type("AWS::IAM::Role").items():
            for policy in resource["Properties"].get("Policies", []):
                yield part_name, name, policy["PolicyDocument"]


def readers(prod: Synthesized, arn: str) -> set[str]:
    found: set[str] = set()
    for part, role, document in policies(prod):
        for statement in document["Statement"]:
            assert not {"NotAction", "NotResource"} & statement.keys()
            if statement["Effect"] != "Allow":
                continue
            may = any(
                fnmatchcase("secretsmanager:getsecretvalue", action.lower())
                for action in as_list(statement["Action"])
            )
            of_it = any(
                fnmatchcase(arn, written(prod, part, resource)) for resource in as_list(statement["Resource"])
            )
            if may and of_it:
                found.add(f"{part} {role[:-8]}")
    return found


def test_nobody_reads_the_caches_key_but_its_host_and_those_who_change_it(prod: Synthesized):
    assert readers(prod, OF_THE_HOST) == {
        "media-cache HostRole",
        "media-cache CheckTlsRole",
        "media-cache SettleTlsStoresRole",
    }


def test_whoever_writes_reads_the_writers_token_and_the_host_that_accepts_it(prod: Synthesized):
    assert readers(prod, OF_THE_WRITERS) == {
        "media-cache HostRole",
        "media-cache MediaCacheCleanupRole",
        "workers FleetRole",
    }


def test_no_role_has_a_policy_that_is_not_looked_at_here(prod: Synthesized):
    roles = [role for part in prod.parts.values() for role in part.of_type("AWS::IAM::Role").values()]
    assert len(roles) > 20
    assert [role for role in roles if role["Properties"].get("ManagedPolicyArns")] == []


@pytest.mark.parametrize(
    ("resource", "read"),
    [
        ({"Ref": "Host"}, False),
        ("*", True),
        (
            {"Fn::Join": ["", ["arn:", {"Ref": "AWS::Partition"}, ":secretsmanager:*:*:secret:livedub/*"]]},
            True,
        ),
        (f"{OF_THE_WRITERS[:-7]}-??????", True),
        (OF_THE_HOST, False),
    ],
)
def test_a_resource_is_read_as_iam_reads_it(prod: Synthesized, resource: Any, read: bool):
    assert fnmatchcase(OF_THE_WRITERS, written(prod, "workers", resource)) is read


def test_the_writers_token_is_made_in_the_account_and_stays_as_the_other_secrets_do(prod: Synthesized):
    _, secret = prod.part("state").named("Voice/Secret")
    assert secret["DeletionPolicy"] == "RetainExceptOnCreate"
    properties = secret["Properties"]
    assert properties["Name"] == "livedub/prod/voice/secrets"
    generated = properties["GenerateSecretString"]
    assert (generated["SecretStringTemplate"], generated["GenerateStringKey"]) == (
        "{}",
        "TTS_MEDIA_CACHE_UPLOAD_TOKEN",
    )
    assert generated["PasswordLength"] == 64
