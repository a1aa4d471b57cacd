"""What of one stack another needs."""

from local.aws.template_parts import imported_names, only_for

STATE = {
    "Parameters": {"BootstrapVersion": {"Default": "/cdk"}},
    "Resources": {
        "Table": {"Type": "Table", "DependsOn": ["Key"]},
        "Key": {"Type": "Key", "Properties": {"Name": {"Fn::Sub": "key-of-${Owner}-${Alias.Arn}"}}},
        "Owner": {"Type": "Owner"},
        "Alias": {"Type": "Alias", "Properties": {"Of": {"Fn::GetAtt": ["Key", "Arn"]}}},
        "Database": {"Type": "Database", "Properties": {"Subnet": {"Fn::ImportValue": "network:Subnet"}}},
        "Bucket": {"Type": "Bucket", "DependsOn": "Database"},
        "Secret": {"Type": "Secret", "Properties": {"Key": {"Fn::GetAtt": "Owner.Arn"}}},
    },
    "Outputs": {
        "TableName": {"Value": {"Ref": "Table"}, "Export": {"Name": "state:Table"}},
        "BucketName": {"Value": {"Ref": "Bucket"}, "Export": {"Name": "state:Bucket"}},
        "Known": {"Value": {"Ref": "Secret"}},
    },
}


def test_imports_are_found_wherever_they_stand():
    template = {
        "Resources": {
            "A": {"Properties": {"List": [{"Fn::Join": ["", [{"Fn::ImportValue": "one"}, "/*"]]}]}}
        },
        "Outputs": {"B": {"Value": {"Fn::ImportValue": "two"}}},
    }
    assert imported_names(template) == {"one", "two"}


def test_what_an_export_needs_is_kept_and_the_rest_is_not():
    part = only_for(STATE, exports={"state:Table"}, outputs=set())
    assert set(part["Resources"]) == {"Table", "Key", "Owner", "Alias"}
    assert set(part["Outputs"]) == {"TableName"}
    assert part["Parameters"] == STATE["Parameters"]


def test_outputs_are_kept_by_name_too():
    part = only_for(STATE, exports=set(), outputs={"Known", "Missing"})
    assert set(part["Resources"]) == {"Secret", "Owner"}
    assert set(part["Outputs"]) == {"Known"}


def test_what_is_not_asked_for_leaves_nothing():
    part = only_for(STATE, exports=set(), outputs=set())
    assert (part["Resources"], part["Outputs"]) == ({}, {})
