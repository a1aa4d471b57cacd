"""The estimate: prices that can be traced, templates counted whole, and the page in docs."""

import json
import re
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given as drawn
from hypothesis import strategies as st

from infra.cost import ARTEFACTS, ENVIRONMENTS, PAGE, chosen, estimate, fleet_of, main, stream_numbers
from infra.cost_idle import BY_USE, FREE, calls_per_month, idle_month
from infra.cost_lines import PRICES, Prices
from infra.cost_page import by_part, page
from infra.cost_stream import Fleet, StreamUse, stream_hour
from livedub.errors import ConfigurationError
from tests.infra.conftest import BUILT, Synthesize, Synthesized

FLEET = Fleet("c6i.xlarge", 4, 0, "runpod.flex.AMPERE_24", 3_600, 0, by_internet=True)


@pytest.fixture(scope="module")
def prices() -> Prices:
    return Prices.read()


def templates_of(synthesized: Synthesized) -> dict[str, dict[str, Any]]:
    return {name: synthesized.parts[name].template for name in synthesized.parts}


def only(*resources: dict[str, Any]) -> dict[str, dict[str, Any]]:
    return {"part": {"Resources": {f"R{index}": resource for index, resource in enumerate(resources)}}}


class TestPrices:
    def test_each_has_a_month_and_the_page_that_publishes_it(self, prices: Prices):
        for name, price in prices.items():
            assert price.usd > 0, name
            assert "2024-11" <= price.as_of <= "2099-12", name
            assert re.fullmatch(r"https://(aws\.amazon\.com|docs\.runpod\.io)/\S+", price.source), name

    def test_one_line_each_so_that_a_change_reads_as_one(self):
        lines = [line for line in PRICES.read_text().splitlines() if '"usd"' in line]
        assert len(lines) == len(json.loads(PRICES.read_text())["prices"])

    @pytest.mark.parametrize(
        "entry",
        [
            {"usd": 1},
            {"usd": 0, "per": "h", "as_of": "2026-01", "source": "x"},
            {"usd": 1, "per": "h", "as_of": "lately", "source": "x"},
        ],
    )
    def test_an_incomplete_one_is_refused(self, tmp_path: Path, entry: dict[str, Any]):
        file = tmp_path / "prices.json"
        file.write_text(json.dumps({"region": "r", "prices": {"x": entry}}))
        with pytest.raises(ConfigurationError, match="price x"):
            Prices.read(file)

    def test_one_that_is_missing_is_named(self, prices: Prices):
        instance = {"Type": "AWS::EC2::Instance", "Properties": {"InstanceType": "u-1.huge"}}
        with pytest.raises(ConfigurationError, match=r"price ec2\.u-1\.huge is not known"):
            idle_month(only(instance), prices)


class TestIdleMonth:
    def test_everything_that_is_deployed_is_counted_or_known_to_cost_nothing(
        self, prod: Synthesized, prices: Prices
    ):
        assert idle_month(templates_of(prod), prices).not_counted == []

    def test_a_resource_that_nobody_knows_is_named(self, prices: Prices):
        assert idle_month(only({"Type": "AWS::Braket::Job"}), prices).not_counted == ["AWS::Braket::Job"]

    def test_no_type_is_both_free_and_by_use(self):
        assert not FREE & BY_USE

    def test_it_costs_what_the_bill_would_say(self, prices: Prices):
        lines = idle_month(
            only(
                {
                    "Type": "AWS::EC2::Instance",
                    "Properties": {
                        "InstanceType": "t3.medium",
                        "Monitoring": True,
                        "BlockDeviceMappings": [{"Ebs": {"VolumeSize": 10}}],
                    },
                },
                {"Type": "AWS::EC2::VPCEndpoint", "Properties": {"VpcEndpointType": "Gateway"}},
                {
                    "Type": "AWS::EC2::VPCEndpoint",
                    "Properties": {"VpcEndpointType": "Interface", "SubnetIds": ["a", "b"]},
                },
                {
                    "Type": "AWS::RDS::DBInstance",
                    "Properties": {
                        "DBInstanceClass": "db.t4g.micro",
                        "AllocatedStorage": "20",
                        "MultiAZ": True,
                    },
                },
            ),
            prices,
        ).lines
        found = {line.item: round(line.usd, 2) for line in lines if line.part == "part"}
        assert found == {
            "instance t3.medium": 30.37,  # 730 h at 0.0416
            "disks of instances": 0.8,
            "detailed monitoring of instances": 2.1,
            "interface endpoints": 14.6,  # two zones
            "Postgres t4g.micro": 23.36,  # twice 11.68
            "storage of Postgres": 4.6,
        }

    def test_a_group_is_counted_by_its_least_number_and_the_stopped_by_their_disks(self, prices: Prices):
        template = {
            "Resources": {
                "Template": {
                    "Type": "AWS::EC2::LaunchTemplate",
                    "Properties": {
                        "LaunchTemplateData": {
                            "InstanceType": "c6i.xlarge",
                            "BlockDeviceMappings": [{"Ebs": {"VolumeSize": 20}}],
                        }
                    },
                },
                "Group": {
                    "Type": "AWS::AutoScaling::AutoScalingGroup",
                    "Properties": {
                        "MinSize": "2",
                        "MaxSize": "9",
                        "LaunchTemplate": {"LaunchTemplateId": {"Ref": "Template"}},
                    },
                },
                "Pool": {
                    "Type": "AWS::AutoScaling::WarmPool",
                    "Properties": {"AutoScalingGroupName": {"Ref": "Group"}, "MinSize": 1},
                },
            }
        }
        found = {line.item: line.usd for line in idle_month({"workers": template}, prices).lines}
        assert found["instance c6i.xlarge, least number"] == pytest.approx(2 * 730 * 0.17)
        assert found["disks of instances"] == pytest.approx(2 * 20 * 0.08)
        assert found["disks of instances, stopped hosts"] == pytest.approx(20 * 0.08)

    @pytest.mark.parametrize(
        ("schedule", "calls"),
        [("rate(1 minute)", 43_800), ("rate(5 minutes)", 8_760), ("rate(1 hour)", 730), ("", 0)],
    )
    def test_schedules(self, schedule: str, calls: float):
        assert calls_per_month(schedule) == pytest.approx(calls)

    def test_prod_pays_for_its_second_nat_gateway(
        self, prod: Synthesized, local: Synthesized, prices: Prices
    ):
        gateways = [
            sum(
                line.quantity
                for line in idle_month(templates_of(each), prices).lines
                if line.item == "NAT gateways"
            )
            for each in (local, prod)
        ]
        assert gateways == [730, 1_460]


class TestStreamHour:
    def test_what_is_shared_is_paid_whole_by_one_and_in_parts_by_many(self, prices: Prices):
        one, four = ({line.item: line.usd for line in stream_hour(n, FLEET, prices)} for n in (1, 4))
        assert one["share of further worker hosts"] == pytest.approx(0.17)
        assert four["share of further worker hosts"] == pytest.approx(0.17 / 4)
        assert one["share of GPUs"] == pytest.approx(3_600 * 0.00019)
        assert one["renewals of the lease"] == four["renewals of the lease"]

    @drawn(st.integers(1, 500), st.integers(1, 64), st.integers(0, 9))
    def test_month_and_hour_together_pay_for_every_host_that_is_needed(
        self, streams: int, slots: int, always: int
    ):
        prices = Prices.read()
        fleet = replace(FLEET, slots=slots, always_hosts=always)
        on_top = by_part(stream_hour(streams, fleet, prices))["workers"] * streams
        needed = -(-streams // slots)
        assert on_top + always * 0.17 == pytest.approx(max(needed, always) * 0.17)

    def test_a_gpu_host_inside_sends_nothing_through_nat(self, prices: Prices):
        inside = chosen("prod", {"sts_source": "gpu_host"})
        items = {line.item: line for line in stream_hour(1, fleet_of(inside, prices), prices)}
        assert items["share of GPUs"].price == "ec2.g5.xlarge"
        assert items["share of GPUs"].usd == 0, "the month has it"
        assert "fragments sent to STS" not in items

    def test_of_the_cards_that_runpod_may_give_it_is_the_dearest(self, prices: Prices):
        assert fleet_of(chosen("prod", {}), prices).gpu_price == "runpod.flex.ADA_24"

    def test_traffic_follows_the_bitrate(self, prices: Prices):
        use = StreamUse()
        twice = replace(use, bitrate_bps=2 * use.bitrate_bps)
        lines = [
            next(
                line.usd
                for line in stream_hour(1, FLEET, prices, each)
                if line.item == "between availability zones"
            )
            for each in (use, twice)
        ]
        # 6 Mbit/s are 2.7 GB an hour, each way, paid at both ends, half of it between zones.
        assert lines[0] == pytest.approx(2.7 * 2 * 2 * 0.5 * 0.01)
        assert lines[1] == pytest.approx(2 * lines[0])


def test_the_page_says_what_is_deployed(synthesize: Synthesize, prices: Prices):
    estimates = [estimate(chosen(name, {}), templates_of(synthesize(name)), prices) for name in ENVIRONMENTS]
    assert PAGE.read_text() == page(estimates, prices), "run python -m infra.cost --write"


def test_stand_ins_cover_what_make_build_makes():
    """Compared with the stand-ins of the other tests: what a template asks for must be there in both."""
    own = {name for name in ARTEFACTS if not name.startswith("layers/dependencies")}
    assert set(BUILT) == own


def test_numbers_of_streams_are_numbers():
    with pytest.raises(ConfigurationError, match="--streams is 'many'"):
        stream_numbers("many")


def test_an_unknown_environment_is_refused():
    with pytest.raises(ConfigurationError, match="environment 'moon' does not exist"):
        main(["-c", "environment=moon"])
