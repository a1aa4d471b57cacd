"""How settings classes are shown and how their errors read."""

from enum import Enum
from pathlib import Path

import pytest
from pydantic import AliasChoices, Field, SecretStr, ValidationError
from pydantic_settings import BaseSettings, SettingsConfigDict

from livedub.settings import explain, render_env_example, variables


class Colour(str, Enum):
    RED = "red"


class Sample(BaseSettings):
    model_config = SettingsConfigDict(env_prefix="SAMPLE_")

    name: str = Field(description="Required.")
    folder: Path = Field(default=Path("~/x"), description="A folder.")
    on: bool = Field(default=True, description="A switch.")
    colour: Colour = Field(default=Colour.RED, description="An enum.")
    key: SecretStr = Field(default=SecretStr(""), description="A secret.")
    url: str = Field(
        default="u", validation_alias=AliasChoices("OTHER_URL", "SAMPLE_URL"), description="Aliased."
    )


def test_every_variable_appears_under_its_name_with_its_default():
    shown = {variable.name: variable.default for variable in variables(Sample)}
    assert shown == {
        "SAMPLE_NAME": "",
        "SAMPLE_FOLDER": "~/x",
        "SAMPLE_ON": "true",
        "SAMPLE_COLOUR": "red",
        "SAMPLE_KEY": "",
        "OTHER_URL": "u",
    }
    assert "# A switch.\nSAMPLE_ON=true\n" in render_env_example([("Sample", Sample)])


def test_an_error_names_the_variable_and_what_it_is_for(monkeypatch: pytest.MonkeyPatch):
    monkeypatch.setenv("SAMPLE_ON", "perhaps")
    with pytest.raises(ValidationError) as caught:
        Sample()  # type: ignore[call-arg]
    message = str(explain(caught.value, Sample))
    assert "SAMPLE_NAME: Field required (Required.)" in message
    assert "SAMPLE_ON" in message
    assert ".env.example" in message
