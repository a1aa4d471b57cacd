from __future__ import annotations

import json
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from gpu_handler.request_check import REMEDIES, RequestRefusedError, check_languages, parse_request
from livedub.sts.contract import ErrorCode, StsRequest
from tests.unit.livedub.sts.exchanges import request

JSON = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats(allow_nan=False) | st.text(max_size=20),
    lambda inner: st.lists(inner, max_size=4) | st.dictionaries(st.text(max_size=10), inner, max_size=4),
    max_leaves=12,
)


def fields(schema: dict[str, Any], definitions: dict[str, Any], prefix: str = "") -> set[str]:
    """Every field of a JSON schema by its dotted path, list items under their list's name."""
    found: set[str] = set()
    for name, part in schema.get("properties", {}).items():
        path = f"{prefix}{name}"
        found.add(path)
        target = part.get("items", part)
        if "$ref" in target:
            found |= fields(definitions[target["$ref"].rpartition("/")[2]], definitions, f"{path}.")
    return found


def test_every_field_of_the_contract_has_its_remedy():
    schema = StsRequest.model_json_schema()
    assert fields(schema, schema["$defs"]) == set(REMEDIES) - {""}


def test_a_good_request_passes():
    asked = request()
    assert parse_request(asked.model_dump_json().encode()) == asked


@settings(deadline=None)
@given(st.binary(max_size=200) | JSON.map(lambda value: json.dumps(value).encode()))
def test_nothing_but_a_refusal_escapes(body: bytes):
    with pytest.raises(RequestRefusedError) as caught:
        parse_request(body)
    assert caught.value.error.code is ErrorCode.INVALID_INPUT
    assert len(str(caught.value)) < 700


@settings(deadline=None)
@given(st.sampled_from(sorted(set(REMEDIES) - {""})), JSON)
def test_any_value_in_any_field_is_taken_or_refused(path: str, value: object):
    body = json.loads(request().model_dump_json())
    node = body
    *parents, last = path.split(".")
    for parent in parents:
        node = node[parent][0] if isinstance(node[parent], list) and node[parent] else node[parent]
    if isinstance(node, list):
        node.append({last: value})
    else:
        node[last] = value
    try:
        said = parse_request(json.dumps(body).encode()).fragment_id
    except RequestRefusedError as refusal:
        said = refusal.error.message
    assert 0 < len(said) < 700


@pytest.mark.parametrize("term", ["x", "a.b.c", "7", "targets"])
@pytest.mark.parametrize("field", ["config.glossary", "config.targets.0.glossary"])
def test_a_bad_term_gets_its_glossary_s_remedy(field: str, term: str):
    body = json.loads(request().model_dump_json())
    holder = body["config"] if field == "config.glossary" else body["config"]["targets"][0]
    holder["glossary"] = {term: 5}
    with pytest.raises(RequestRefusedError, match=f"{field}.{term}.*at most 500 terms"):
        parse_request(json.dumps(body).encode())


def test_a_glossary_of_10_000_characters_is_refused_by_name_and_bound():
    body = json.loads(request().model_dump_json())
    body["config"]["glossary"] = {"g" * 5_000: "t" * 5_000}
    with pytest.raises(RequestRefusedError) as caught:
        parse_request(json.dumps(body).encode())
    assert caught.value.error.code is ErrorCode.INVALID_INPUT
    assert "config.glossary" in str(caught.value)
    assert "8000" in str(caught.value)


def test_auto_takes_every_target_that_some_source_has():
    auto = request().model_copy(
        update={"config": request(targets=("fr",)).config.model_copy(update={"source_language": "auto"})}
    )
    check_languages(auto, {"es": ("en",), "en": ("fr",)})
    with pytest.raises(RequestRefusedError, match="none"):
        check_languages(auto, {})


def test_an_unknown_pair_is_answered_with_the_pairs_there_are():
    pairs = {"fr": ("it", "es"), "en": ("es", "it"), "de": ("en",), "ja": ()}
    with pytest.raises(RequestRefusedError) as caught:
        check_languages(request(targets=("en",)), pairs)
    assert caught.value.error.code is ErrorCode.UNSUPPORTED_LANGUAGE
    assert caught.value.fragment_id == "stadium/3/7"
    assert "from 'es' into 'en'" in str(caught.value)
    assert str(caught.value).endswith("Choose one of: de into en; en fr into es it.")


def test_one_impossible_language_does_not_refuse_the_others():
    pairs = {"es": ("en",)}
    check_languages(request(targets=("en", "ja")), pairs)
    with pytest.raises(RequestRefusedError, match="from 'es' into 'ja', 'fr' here"):
        check_languages(request(targets=("ja", "fr")), pairs)
