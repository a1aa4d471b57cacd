"""What can be taken away, and made again, as well as it was made."""

from tests.infra.conftest import Part, Synthesized


def test_a_machine_goes_before_what_it_has_mounted(prod: Synthesized):
    # An attachment of its own goes before its machine, which has the volume mounted still: EC2 waits for ever.
    machines = [
        machine["Properties"]
        for part in prod.parts.values()
        for machine in part.of_type("AWS::EC2::Instance").values()
    ]
    assert sorted(len(machine["Volumes"]) for machine in machines) == [1, 2]
    assert [part.name for part in prod.parts.values() if _attachments(part)] == []


def _attachments(part: Part) -> list[str]:
    return sorted(part.of_type("AWS::EC2::VolumeAttachment"))
