import os

import pytest
from pydantic import ValidationError

from gpu_handler.settings import StsSettings


def test_every_field_says_what_it_is_for():
    assert [name for name, field in StsSettings.model_fields.items() if not field.description] == []


def test_variables_carry_the_prefix(monkeypatch: pytest.MonkeyPatch):
    monkeypatch.setenv("STS_PROFILE", "mock")
    monkeypatch.setenv("STS_API_PORT", "9001")
    settings = StsSettings()
    assert (settings.profile, settings.api_port) == ("mock", 9001)


def test_an_empty_variable_is_the_default(monkeypatch: pytest.MonkeyPatch):
    monkeypatch.setenv("STS_API_PORT", "")
    assert StsSettings().api_port == 8000


def test_zero_threads_means_every_core_this_process_may_use():
    assert StsSettings(cpu_threads=0).threads == len(os.sched_getaffinity(0))
    assert StsSettings(cpu_threads=3).threads == 3


def test_the_key_does_not_show_in_logs():
    assert "hush" not in repr(StsSettings(api_key="hush"))


def test_an_unknown_profile_is_refused():
    with pytest.raises(ValidationError, match="profile"):
        StsSettings.model_validate({"profile": "tpu"})
