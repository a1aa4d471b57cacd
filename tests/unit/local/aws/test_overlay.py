"""The canary: an upgrade of moto that moves or changes a patched symbol fails here, by name."""

from __future__ import annotations

import importlib.metadata
import json
import string
from typing import Any, cast

import pytest
from moto.stepfunctions import models as state_machine_models
from moto.stepfunctions import responses as state_machine_responses
from moto.stepfunctions.parser.asl.component.state.exec.state_task import lambda_eval_utils
from moto.stepfunctions.parser.asl.utils import boto_client

from local.aws.overlay import patching
from local.aws.overlay.cloudformation_types import TYPES
from local.aws.overlay.installed import all_patches
from local.aws.overlay.patching import MOTO_VERSION, OverlayError, Patch, resolve, source_digest, verify
from local.aws.overlay.skipped_types import SKIPPED
from local.aws.overlay.types_of_secrets import random_secret
from local.aws.runtime import Runtime

PATCHES = all_patches(cast("Runtime", None))


@pytest.mark.parametrize("patch", PATCHES, ids=lambda patch: patch.symbol)
def test_a_patched_symbol_is_still_what_the_patch_was_written_for(patch: Patch):
    assert source_digest(patch.symbol) == patch.digest


def test_moto_is_the_version_the_overlay_was_written_for():
    assert importlib.metadata.version("moto") == MOTO_VERSION


def test_every_patch_has_a_reason_and_no_symbol_is_patched_twice():
    assert all(len(patch.reason) > 8 for patch in PATCHES)
    assert len({patch.symbol for patch in PATCHES}) == len(PATCHES)


def test_the_backend_that_cloudformation_makes_machines_in_can_be_replaced():
    # installed.install assigns it; both modules must look it up by this name.
    assert hasattr(state_machine_models, "stepfunctions_backends")
    assert hasattr(state_machine_responses, "get_backend")


def test_a_changed_symbol_is_named():
    changed = Patch("moto.backends:list_of_moto_modules", "0" * 12, "some reason", lambda original: original)
    with pytest.raises(OverlayError, match="list_of_moto_modules"):
        verify([changed])


@pytest.mark.parametrize("symbol", ["moto.gone:thing", "moto.backends:gone", "moto.ssm.models:Command.gone"])
def test_a_symbol_that_is_gone_is_named(symbol: str):
    with pytest.raises(OverlayError, match="no longer"):
        resolve(symbol)


def test_a_patch_is_put_in_place_everywhere_it_was_imported(monkeypatch: pytest.MonkeyPatch):
    for module in (boto_client, lambda_eval_utils):
        monkeypatch.setattr(module, "boto_client_for", boto_client.boto_client_for)  # undone at the end
    replacement = object()
    symbol = "moto.stepfunctions.parser.asl.utils.boto_client:boto_client_for"
    # Only the two modules above are put back, so no other one may be touched.
    monkeypatch.setattr(
        patching.sys, "modules", {module.__name__: module for module in (boto_client, lambda_eval_utils)}
    )
    patching.apply([Patch(symbol, "", "some reason", lambda original: replacement, everywhere=True)])
    assert cast("Any", lambda_eval_utils).boto_client_for is replacement


def test_generated_secrets_follow_their_options():
    key = random_secret(
        {
            "ExcludeCharacters": "ghijklmnopqrstuvwxyz",
            "ExcludeUppercase": "true",
            "ExcludePunctuation": True,
            "IncludeSpace": False,
            "PasswordLength": "64",
        }
    )
    assert len(key) == 64
    assert set(key) <= set(string.hexdigits.lower())
    assert key != random_secret({"PasswordLength": 64})
    nested = json.loads(
        random_secret({"SecretStringTemplate": '{"user": "a"}', "GenerateStringKey": "token"})
    )
    assert nested["user"] == "a"
    assert len(nested["token"]) == 32


def test_the_types_our_stacks_need_are_there():
    assert {"AWS::ApiGatewayV2::Api", "AWS::SecretsManager::Secret", "AWS::Lambda::Url"} <= set(TYPES)


def test_what_is_skipped_says_why_and_what_covers_it():
    assert set(SKIPPED) <= set(TYPES)
    assert all(len(each.why) > 8 and len(each.covered_by) > 8 for each in SKIPPED.values())
