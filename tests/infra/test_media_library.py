"""The media library: its functions, what they may do, and where they are."""

import json
import re

import pytest

from tests.infra.conftest import ROOT, Part, Synthesized

PLACEHOLDER = re.compile(r"\$\{(\w+)\}")
DEFINITION = ROOT / "infra/statemachines/media_job.asl.json"
OBJECTS = {
    "LibraryApi": {
        "in": {"Get", "Put", "Delete", "AbortMultipartUpload", "ListMultipartUploadParts"},
        "out": {"Get"},
    },
    "MediaJobRun": {
        "in": {"Get"},
        "out": {"Get", "Put", "Delete", "AbortMultipartUpload", "ListMultipartUploadParts"},
    },
    "MediaJobRoute": {"in": {"Get"}},
    "MediaJobEnd": {"out": {"Delete"}},
    "MediaJobSweep": {},
}


@pytest.fixture
def library(prod: Synthesized) -> Part:
    return prod.part("media-library")


def test_every_placeholder_of_the_definition_has_a_value(library: Part):
    machine = library.properties("MediaJobs/Machine")
    assert machine["StateMachineType"] == "STANDARD"
    assert set(machine["DefinitionSubstitutions"]) == set(PLACEHOLDER.findall(DEFINITION.read_text()))


@pytest.mark.parametrize("function", sorted(OBJECTS))
def test_each_function_reads_and_writes_what_it_must_and_no_more(library: Part, function: str):
    found: dict[str, set[str]] = {}
    for statement in library.statements(f"{function}Role"):
        actions = statement["Action"] if isinstance(statement["Action"], list) else [statement["Action"]]
        objects = {
            action.removeprefix("s3:").removesuffix("Object")
            for action in actions
            if action.startswith("s3:")
        }
        if objects and re.search(r"/[.a-z/]*\*", json.dumps(statement["Resource"])):
            found["in" if "GetAttMediaIn" in json.dumps(statement["Resource"]) else "out"] = objects
    assert found == OBJECTS[function]


def test_functions_know_names_of_secrets_and_not_the_secrets(library: Part):
    for name in OBJECTS:
        found = library.properties(name)
        variables = found["Environment"]["Variables"]
        assert variables["LIVEDUB_EXECUTOR"] == "stepfunctions"
        assert not {"DATABASE_URL", "LIBRARY_CALLBACK_SECRET", "LIBRARY_API_TOKEN"} & set(variables)
        assert len(found["Layers"]) == 2


def test_functions_are_where_the_database_is_and_may_ask_it(prod: Synthesized, library: Part):
    network = prod.part("network")
    group, _ = network.named("Doors/Library")
    for function in library.of_type("AWS::Lambda::Function").values():
        place = function["Properties"]["VpcConfig"]
        groups = [prod.origin("media-library", each) for each in place["SecurityGroupIds"]]
        assert groups == [("network", {"Fn::GetAtt": [group, "GroupId"]})]
        subnets = [prod.origin("media-library", each)[1]["Ref"] for each in place["SubnetIds"]]
        assert {network.resources[each]["Properties"]["CidrBlock"] for each in subnets} == {
            "10.0.16.0/20",
            "10.0.32.0/20",
        }
    [door] = [
        rule["Properties"]
        for rule in network.of_type("AWS::EC2::SecurityGroupIngress").values()
        if rule["Properties"]["SourceSecurityGroupId"] == {"Fn::GetAtt": [group, "GroupId"]}
        and rule["Properties"]["ToPort"] == 5_432
    ]
    assert door["GroupId"] == {"Fn::GetAtt": [network.named("Doors/Database")[0], "GroupId"]}


def test_hosts_may_answer_for_every_task_that_waits_for_one(library: Part):
    [machine_id] = library.of_type("AWS::StepFunctions::StateMachine")
    definition = json.loads(DEFINITION.read_text())
    labels = {state["Label"] for state in definition["States"].values() if "Label" in state}
    [policy] = library.of_type("AWS::IAM::ManagedPolicy").values()
    [answers] = [
        statement["Resource"]
        for statement in policy["Properties"]["PolicyDocument"]["Statement"]
        if "states:SendTaskSuccess" in statement["Action"]
    ]
    # A task of a Distributed Map belongs to the labelled machine.
    machine = {"Ref": machine_id}
    expected = [machine, *({"Fn::Join": ["", [machine, f"/{label}"]]} for label in labels)]
    assert len(expected) == 2
    assert sorted(answers, key=str) == sorted(expected, key=str)
