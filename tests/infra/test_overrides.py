"""What the context of one deployment changes of an environment."""

from dataclasses import fields

import pytest

from infra.config import EnvironmentConfig, environment_config
from infra.overrides import OVERRIDES, overridden
from livedub.errors import ConfigurationError


@pytest.mark.parametrize("name", sorted(OVERRIDES))
def test_every_override_is_of_a_field_that_there_is(name: str):
    override = OVERRIDES[name]
    assert override.part in {field.name for field in fields(EnvironmentConfig)}
    part = getattr(environment_config("dev"), override.part)
    assert override.key in {field.name for field in fields(part)}


def test_what_is_not_given_stays():
    config = environment_config("dev")
    assert overridden(config, {}) is config
    assert overridden(config, {"environment": "dev", "another": "value"}) is config


def test_a_value_is_laid_over_its_field_alone():
    config = overridden(environment_config("dev"), {"media_cache_port": "9443", "media_cache_host": "off"})
    assert (config.media_cache.port, config.media_cache.host) == (9_443, False)
    assert config.media_cache.private_ip == environment_config("dev").media_cache.private_ip
    assert config.network == environment_config("dev").network


@pytest.mark.parametrize(
    ("values", "words"),
    [
        ({"media_cache_port": "https"}, r"context media_cache_port is 'https'\. Give a number\."),
        ({"media_cache_host": "maybe"}, r"context media_cache_host is 'maybe'\. Give on or off\."),
        ({"media_cache_port": "80"}, r"media_cache\.port is 80"),
    ],
)
def test_a_value_that_cannot_be_is_refused_by_its_name(values: dict[str, str], words: str):
    with pytest.raises(ConfigurationError, match=words):
        overridden(environment_config("dev"), values)
