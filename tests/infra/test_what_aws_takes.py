"""What no linter looks at and AWS refuses in the middle of a deployment."""

import json
import re
from collections.abc import Iterator

from cfnlint.helpers import REGIONS
from cfnlint.schema.manager import PROVIDER_SCHEMA_MANAGER

from tests.infra.conftest import Part, Synthesized

RULES = ("AWS::EC2::SecurityGroupIngress", "AWS::EC2::SecurityGroupEgress")
IN_A_RULE = re.compile(r"[a-zA-Z0-9. _\-:/()#,@\[\]+=&;{}!$*]{0,255}")
"""EC2: `Invalid rule description. Valid descriptions are strings less than 256 characters from the following set`."""
MOST_MEMORY_MB = 3_008
"""Lambda in a new account: `'MemorySize' value failed to satisfy constraint: Member must have value less than or equal to 3008`."""


def descriptions(part: Part) -> Iterator[str]:
    for resource in part.resources.values():
        properties = resource.get("Properties", {})
        if resource["Type"] in RULES:
            yield properties["Description"]
        elif resource["Type"] == "AWS::EC2::SecurityGroup":
            yield properties["GroupDescription"]
            for rules in ("SecurityGroupIngress", "SecurityGroupEgress"):
                yield from (rule["Description"] for rule in properties.get(rules, ()))


def test_descriptions_of_openings_are_of_the_letters_that_ec2_takes(prod: Synthesized):
    every = [text for part in prod.parts.values() for text in descriptions(part)]
    assert len(every) > 20
    assert [text for text in every if not IN_A_RULE.fullmatch(text)] == []


def test_a_machine_waits_for_the_rights_that_its_first_boot_needs(prod: Synthesized):
    machines = [
        (part, machine)
        for part in prod.parts.values()
        for machine in part.of_type("AWS::EC2::Instance").values()
    ]
    assert len(machines) == 2
    for part, machine in machines:
        policies = part.of_type("AWS::IAM::Policy")
        role, _ = part.named("Host/Role")
        [policy] = [name for name, each in policies.items() if {"Ref": role} in each["Properties"]["Roles"]]
        assert policy in machine["DependsOn"]


def test_what_has_a_name_of_ours_goes_with_the_deployment_that_failed_to_make_it(prod: Synthesized):
    named = [
        resource
        for part in prod.parts.values()
        for resource in part.resources.values()
        if resource.get("DeletionPolicy", "").startswith("Retain")
        and any(
            isinstance(resource["Properties"].get(key), str) for key in ("Name", "BucketName", "TableName")
        )
    ]
    assert [resource["DeletionPolicy"] for resource in named] == ["RetainExceptOnCreate"] * 3


def test_the_largest_user_data_is_well_below_what_ec2_takes(prod: Synthesized):
    given = [
        json.dumps(resource["Properties"].get("UserData", resource["Properties"].get("LaunchTemplateData")))
        for part in prod.parts.values()
        for kind in ("AWS::EC2::Instance", "AWS::EC2::LaunchTemplate")
        for resource in part.of_type(kind).values()
    ]
    assert len(given) == 3
    assert max(map(len, given)) < 12_000


def test_functions_are_no_larger_than_a_new_account_may_have_them(prod: Synthesized):
    functions = [
        function["Properties"]
        for part in prod.parts.values()
        for function in part.of_type("AWS::Lambda::Function").values()
    ]
    assert len(functions) > 15
    assert [each["Description"] for each in functions if each.get("MemorySize", 128) > MOST_MEMORY_MB] == []


def test_every_resource_is_of_a_type_that_every_region_has(prod: Synthesized):
    # CloudFormation refuses a template with one that it does not know, before anything else.
    types = {
        resource["Type"]
        for part in prod.parts.values()
        for resource in part.resources.values()
        if resource["Type"] != "AWS::CDK::Metadata"
    }
    regions = [
        region
        for region in REGIONS
        if region.startswith(("af", "ap", "ca", "eu-", "il", "me", "mx", "sa", "us-e", "us-w"))
    ]
    assert len(regions) > 30
    nowhere = {
        region: sorted(types - set(PROVIDER_SCHEMA_MANAGER.get_resource_types(region))) for region in regions
    }
    assert {region: missing for region, missing in nowhere.items() if missing} == {}
