"""An auto-scaling group with one host, as moto keeps it."""

from typing import Any


def scaled_instance(client: Any) -> str:
    """A group of one, and the id of that one."""
    client.create_launch_configuration(
        LaunchConfigurationName="worker", ImageId="ami-12c6146b", InstanceType="c6i.large"
    )
    client.create_auto_scaling_group(
        AutoScalingGroupName="workers",
        LaunchConfigurationName="worker",
        MinSize=1,
        MaxSize=1,
        AvailabilityZones=["us-east-1a"],
    )
    (instance,) = client.describe_auto_scaling_instances()["AutoScalingInstances"]
    return instance["InstanceId"]
