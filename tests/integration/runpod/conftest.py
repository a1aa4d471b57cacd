from tests.contract.runpod_rig import runpod_endpoint  # noqa: F401 - a fixture
