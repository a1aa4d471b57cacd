"""What may be asked of a host by name: a document of Systems Manager that runs nothing else."""

# jsii's generated classes do not match its generated interfaces: parameter names differ.
# pyright: reportArgumentType=false

from __future__ import annotations

from collections.abc import Mapping

from aws_cdk import Stack
from aws_cdk import aws_ssm as ssm
from constructs import Construct

_ACTION_S = 120


class HostActions(Construct):
    """The document `livedub-<environment>-host-action`: its one parameter, `action`, names a command of `actions`.

    No text that was sent is ever run: whoever may send this document may do these things and nothing else.
    """

    def __init__(
        self, scope: Construct, construct_id: str, *, environment: str, actions: Mapping[str, str]
    ) -> None:
        super().__init__(scope, construct_id)
        self.document_name = f"livedub-{environment}-host-action"
        ssm.CfnDocument(
            self,
            "Document",
            name=self.document_name,
            document_type="Command",
            target_type="/AWS::EC2::Instance",
            # A name of ours is not replaced: a change is a version.
            update_method="NewVersion",
            content={
                "schemaVersion": "2.2",
                "description": "Does one of a few things that livedub asks of a host.",
                "parameters": {
                    "action": {
                        "type": "String",
                        "description": "Which.",
                        "allowedValues": sorted(actions),
                    }
                },
                "mainSteps": [
                    {
                        "action": "aws:runShellScript",
                        "name": "act",
                        "inputs": {
                            "timeoutSeconds": str(_ACTION_S),
                            "runCommand": [
                                "set -eu",
                                "case '{{ action }}' in",
                                *(f"  {name}) {actions[name]} ;;" for name in sorted(actions)),
                                "  *) exit 64 ;;",
                                "esac",
                            ],
                        },
                    }
                ],
            },
        )

    @property
    def arn(self) -> str:
        """Of the document."""
        return Stack.of(self).format_arn(service="ssm", resource="document", resource_name=self.document_name)
