"""What is made and changed for an endpoint's file, against the account API of the emulator."""

from collections.abc import Iterator
from contextlib import suppress
from typing import Any

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from livedub.errors import ConfigurationError
from livedub.sts.runpod_account import RunpodEndpoint
from livedub.sts.runpod_account_client import RunpodAccountUnavailableError
from livedub.sts.runpod_deployment import Plan, carry_out, endpoint_name, look, make_plan, remove
from livedub.sts.runpod_endpoint_spec import RunpodEndpointSpec
from tests.unit.livedub.sts.runpod_account_rig import IMAGE, OTHER_IMAGE, AccountRig, account_rig

NAME = "livedub-dev-sts"
ENV = {"STS_PROFILE": "gpu", "STS_MODEL_DIR": "/runpod-volume/models"}


@pytest.fixture
def rig() -> Iterator[AccountRig]:
    with account_rig() as rig:
        yield rig


def spec(**changed: Any) -> RunpodEndpointSpec:
    document = {"image": IMAGE, "env": ENV, "gpu": {"pools": ["ADA_24"]}, "network_volume": "vol0", **changed}
    return RunpodEndpointSpec.model_validate(document)


def planned(rig: AccountRig, wanted: RunpodEndpointSpec) -> Plan:
    return make_plan(wanted, look(rig.account, NAME))


def deploy(rig: AccountRig, wanted: RunpodEndpointSpec) -> RunpodEndpoint:
    return carry_out(rig.account, planned(rig, wanted))


def only_endpoint(rig: AccountRig) -> RunpodEndpoint:
    (endpoint,) = rig.account.endpoints()
    return endpoint


def test_the_first_time_template_and_endpoint_are_made(rig: AccountRig):
    plan = planned(rig, spec(network_volume="vol1"))
    assert plan.lines()[0] == f"template {NAME}-worker: make"
    assert f"endpoint {NAME}: make" in plan.lines()
    assert "  workers.max: (none) -> 3" in plan.lines()
    endpoint = carry_out(rig.account, plan)
    assert [method for method, _, _ in rig.sent] == ["POST", "POST"]
    assert rig.account.templates()[0].container() == endpoint.container()
    assert endpoint.image == IMAGE
    assert endpoint.env == ENV
    assert endpoint.network_volumes == ["vol1"]
    assert endpoint.service_url == f"runpod://{endpoint.id}"
    assert endpoint.id in rig.endpoints, "it takes jobs"


def test_a_template_starts_neither_ssh_nor_jupyter(rig: AccountRig):
    deploy(rig, spec())
    body = rig.sent[0][2]
    assert (body["startSsh"], body["startJupyter"], body["public"], body["serverless"]) == (False,) * 3 + (
        True,
    )


def test_the_second_time_nothing_is_sent(rig: AccountRig):
    first = deploy(rig, spec())
    rig.sent.clear()
    plan = planned(rig, spec())
    assert plan.empty
    assert plan.lines() == []
    assert carry_out(rig.account, plan) == first
    assert rig.sent == []


@pytest.mark.parametrize(
    ("changed", "line", "paths"),
    [
        ({"workers": {"min": 1, "max": 5}}, "workers.min: 0 -> 1", ["serverless"]),
        ({"workers": {"idle_timeout_s": 5}}, "workers.idle_timeout_s: 60 -> 5", ["serverless"]),
        ({"scaling": {"type": "QUEUE_DELAY", "queue_delay_s": 4}}, "scaling.queue_delay_s: 1.0 -> 4.0", ["serverless"]),
        (
            {"scaling": {"type": "REQUEST_COUNT", "request_count": 4}},
            "scaling.type: QUEUE_DELAY -> REQUEST_COUNT",
            ["serverless"],
        ),
        ({"gpu": {"pools": ["AMPERE_24", "ADA_24"]}}, "gpu.pools: ADA_24 -> ADA_24, AMPERE_24", ["serverless"]),
        ({"gpu": {"pools": ["ADA_24"], "min_cuda_version": ""}}, "gpu.min_cuda_version: 12.8 -> (none)", ["serverless"]),
        ({"network_volume": "vol1"}, "network_volumes: vol0 -> vol1", ["serverless"]),
        ({"data_centers": ["EU-RO-1"]}, "data_centers: (none) -> EU-RO-1", ["serverless"]),
        ({"job_timeout_s": 60}, "job_timeout_s: 120.0 -> 60.0", ["serverless"]),
        ({"flashboot": "OFF"}, "flashboot: FLASHBOOT -> OFF", ["serverless"]),
        ({"image": OTHER_IMAGE}, f"image: {IMAGE} -> {OTHER_IMAGE}", ["templates", "serverless"]),
        ({"disk_gb": 40}, "disk_gb: 30 -> 40", ["templates", "serverless"]),
        ({"registry": "reg1"}, "registry: (none) -> reg1", ["templates", "serverless"]),
        ({"env": {"STS_PROFILE": "mock"}}, "env.STS_MODEL_DIR: /runpod-volume/models -> (none)", ["templates", "serverless"]),
    ],
)  # fmt: skip
def test_what_differs_is_changed_and_nothing_else(
    rig: AccountRig, changed: dict[str, Any], line: str, paths: list[str]
):
    before = deploy(rig, spec())
    rig.sent.clear()
    plan = planned(rig, spec(**changed))
    assert f"  {line}" in plan.lines()
    after = carry_out(rig.account, plan)
    assert after.id == before.id
    assert [(method, path.split("/")[1]) for method, path, _ in rig.sent] == [
        ("PATCH", path) for path in paths
    ]
    assert planned(rig, spec(**changed)).empty
    assert deploy(rig, spec(data_centers=[])).placement() == before.placement()
    assert only_endpoint(rig).container() == before.container()


_WORKERS = st.fixed_dictionaries({"min": st.integers(0, 3), "max": st.integers(3, 9)})
_SCALING = st.one_of(
    st.fixed_dictionaries(
        {"type": st.just("QUEUE_DELAY"), "queue_delay_s": st.sampled_from([0.5, 1.0, 4.0])}
    ),
    st.fixed_dictionaries({"type": st.just("REQUEST_COUNT"), "request_count": st.integers(1, 9)}),
)
_GPU = st.fixed_dictionaries(
    {
        "pools": st.lists(st.sampled_from(["ADA_24", "AMPERE_24", "ADA_48_PRO"]), min_size=1, unique=True),
        "excluded_types": st.lists(st.sampled_from(["NVIDIA L40", "NVIDIA L4"]), unique=True),
        "min_cuda_version": st.sampled_from(["", "12.8", "13.0"]),
    }
)
_CHANGES = st.fixed_dictionaries(
    {},
    optional={
        "image": st.sampled_from([IMAGE, OTHER_IMAGE]),
        "env": st.dictionaries(st.sampled_from(["A", "B", "C"]), st.sampled_from(["1", "2"])),
        "gpu": _GPU,
        "workers": _WORKERS,
        "scaling": _SCALING,
        "network_volume": st.sampled_from([None, "vol0", "vol1"]),
        "data_centers": st.sampled_from([None, [], ["EU-RO-1"]]),
    },
)


@settings(max_examples=40, suppress_health_check=[HealthCheck.too_slow])
@given(st.lists(_CHANGES, min_size=2, max_size=4))
def test_whatever_was_there_one_deployment_brings_it_about_and_a_second_changes_nothing(
    steps: list[dict[str, Any]],
):
    with account_rig() as rig:
        for step in steps:
            deploy(rig, spec(**step))
            assert planned(rig, spec(**step)).empty


def test_a_group_of_settings_is_sent_only_when_it_differs(rig: AccountRig):
    deploy(rig, spec())
    rig.sent.clear()
    deploy(rig, spec(workers={"min": 1}))
    assert [body for _, _, body in rig.sent] == [{"workers": {"min": 1, "max": 3, "idleTimeout": 60}}]


@pytest.mark.parametrize("after_it", [False, True], ids=["before", "after"])
@pytest.mark.parametrize("request_number", range(1, 9))
def test_wherever_the_connection_breaks_running_again_ends_with_one_of_each(
    request_number: int, after_it: bool
):
    with account_rig() as rig:
        rig.break_at, rig.after_it = request_number, after_it
        for step in (spec(), spec(image=OTHER_IMAGE, workers={"max": 9})):
            with suppress(RunpodAccountUnavailableError):
                deploy(rig, step)
            deploy(rig, step)
        assert only_endpoint(rig).image == OTHER_IMAGE
        assert only_endpoint(rig).workers.max == 9
        assert len(rig.account.templates()) == 1
        assert rig.asked > request_number, "it did break"


def test_what_runpod_took_back_by_itself_is_set_again(rig: AccountRig):
    endpoint = deploy(rig, spec())
    rig.account.update_endpoint(endpoint.id, {"workers": {"max": 0}})
    assert planned(rig, spec()).lines()[1:] == ["  workers.max: 0 -> 3"]
    assert deploy(rig, spec()).workers.max == 3


def test_without_an_image_the_deployed_one_stays(rig: AccountRig):
    with pytest.raises(ConfigurationError, match="image is missing"):
        planned(rig, spec(image=""))
    deploy(rig, spec())
    assert planned(rig, spec(image="")).empty
    assert deploy(rig, spec(image="", workers={"max": 9})).image == IMAGE


def test_models_on_a_volume_need_one(rig: AccountRig):
    for missing in (None, ""):
        with pytest.raises(
            ConfigurationError, match=r"env\.STS_MODEL_DIR lies on a network volume"
        ) as refused:
            planned(rig, spec(network_volume=missing))
        assert "--network-volume" in refused.value.remedy
    in_the_image = {"STS_PROFILE": "gpu", "STS_MODEL_DIR": "/models"}
    assert deploy(rig, spec(network_volume="", env=in_the_image)).network_volumes == []


def test_where_the_file_names_no_volume_the_deployed_one_stays(rig: AccountRig):
    deploy(rig, spec())
    assert planned(rig, spec(network_volume=None)).empty


def test_where_the_file_leaves_data_centres_open_they_stay(rig: AccountRig):
    endpoint = deploy(rig, spec())
    rig.account.update_endpoint(endpoint.id, {"dataCenterIds": ["EU-RO-1"]})
    assert planned(rig, spec()).empty
    assert not planned(rig, spec(data_centers=[])).empty


def test_an_endpoint_without_its_template_gets_one_and_stays(rig: AccountRig):
    endpoint = deploy(rig, spec())
    rig.account.delete_template(rig.account.templates()[0].id)
    rig.sent.clear()
    assert deploy(rig, spec()).id == endpoint.id
    assert [(method, path) for method, path, _ in rig.sent] == [("POST", "/templates")]


def test_a_deployment_that_broke_off_goes_on(rig: AccountRig):
    plan = planned(rig, spec())
    rig.account.create_template(
        {"name": f"{NAME}-worker", "image": OTHER_IMAGE, "env": {"OLD": "1"}, "serverless": False}
    )
    assert not plan.present.template
    endpoint = deploy(rig, spec())
    assert endpoint.image == IMAGE
    assert endpoint.env == ENV
    assert rig.account.templates()[0].serverless


def test_an_endpoint_is_known_by_its_name_with_what_runpod_appends(rig: AccountRig):
    endpoint = deploy(rig, spec())
    rig.account.update_endpoint(endpoint.id, {"name": f"{NAME} -fb"})
    assert planned(rig, spec()).empty


def test_two_endpoints_of_one_name_are_refused_by_id(rig: AccountRig):
    first = deploy(rig, spec())
    body = {"name": NAME, "image": IMAGE, "type": "QUEUE", "gpu": {"pools": ["ADA_24"]}}
    second = rig.account.create_endpoint({**body, "scaling": {"type": "QUEUE_DELAY", "queueDelay": 4}})
    with pytest.raises(ConfigurationError, match=f"2 endpoints called {NAME}: {first.id}, {second.id}"):
        look(rig.account, NAME)


class Answers:
    """An account whose one endpoint is what the test says."""

    def __init__(self, **changed: Any) -> None:
        document = {
            "id": "e1",
            "name": NAME,
            "type": "QUEUE",
            "workers": {"min": 0, "max": 3},
            "scaling": {"type": "QUEUE_DELAY", "queueDelay": 1},
            "timeout": 1,
            "gpu": {"pools": []},
        }
        self._endpoint = RunpodEndpoint.model_validate({**document, **changed})

    def templates(self) -> list[Any]:
        return []

    def endpoints(self) -> list[RunpodEndpoint]:
        return [self._endpoint]

    def create_template(self, body: Any) -> Any:
        from livedub.sts.runpod_account import Template  # noqa: PLC0415

        return Template.model_validate({"id": "t1", **body})

    def update_endpoint(self, _endpoint_id: str, _body: Any) -> RunpodEndpoint:
        return self._endpoint


@pytest.mark.parametrize(
    ("changed", "problem"),
    [({"type": "LOAD_BALANCER"}, "LOAD_BALANCER endpoint"), ({"gpu": None}, "without a GPU")],
)
def test_an_endpoint_of_another_kind_is_left_alone(changed: dict[str, Any], problem: str):
    with pytest.raises(ConfigurationError, match=problem):
        look(Answers(**changed), NAME)  # pyright: ignore[reportArgumentType]


def test_a_change_that_runpod_does_not_keep_is_told():
    account: Any = Answers()
    plan = make_plan(spec(workers={"max": 9}), look(account, NAME))
    with pytest.raises(ConfigurationError, match=r"is not what was asked for: .*workers\.max: 3 -> 9"):
        carry_out(account, plan)


def test_values_of_secrets_are_not_shown(rig: AccountRig):
    endpoint = deploy(rig, spec())
    rig.account.update_endpoint(endpoint.id, {"env": {**ENV, "HF_TOKEN": "hf_very_secret"}})
    told = "\n".join(planned(rig, spec()).lines())
    assert "env.HF_TOKEN: (hidden) -> (none)" in told
    assert "hf_very_secret" not in told


def test_removing_takes_both_away_and_may_be_repeated(rig: AccountRig):
    endpoint = deploy(rig, spec())
    present = look(rig.account, NAME)
    assert [line.split(" (")[0] for line in remove(rig.account, present)] == [
        f"endpoint {NAME}",
        f"template {NAME}-worker",
    ]
    assert rig.account.endpoints() == rig.account.templates() == []
    assert endpoint.id not in rig.endpoints
    assert remove(rig.account, present) == []


def test_every_environment_has_an_endpoint_of_its_own():
    assert endpoint_name("prod") == "livedub-prod-sts"
    assert endpoint_name("") == "livedub-sts"
