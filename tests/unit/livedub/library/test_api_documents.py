"""What the API says of itself: the OpenAPI document and the GraphQL schema, kept as golden files.

After a change that is meant: `python tests/unit/livedub/library/test_api_documents.py` writes them anew.
"""

import json
import re
from pathlib import Path

import pytest
from pydantic import BaseModel

from livedub.library import types as library_types
from livedub.library.api import api_types, graphql_schema
from livedub.library.api.openapi import openapi_document
from livedub.library.api.refusals import status_of
from livedub.library.library_errors import LibraryErrorCode

GOLDEN = Path(__file__).parents[3] / "golden" / "library"
DOCUMENTS = {"openapi.json": openapi_document, "schema.graphql": graphql_schema.sdl}
MODELS = {
    name: model
    for module in (library_types, api_types)
    for name, model in vars(module).items()
    if isinstance(model, type) and issubclass(model, BaseModel)
}


@pytest.mark.parametrize("name", sorted(DOCUMENTS))
def test_the_document_is_the_golden_one(name: str):
    assert (GOLDEN / name).read_text() == DOCUMENTS[name](), f"run {Path(__file__).name}"


def test_every_golden_file_is_checked():
    assert {path.name for path in GOLDEN.iterdir()} == set(DOCUMENTS)


def test_graphql_shows_every_field_of_every_type_it_shares_with_rest():
    graphql = graphql_schema.schema()._schema.type_map
    shared = {name: graphql[name] for name in MODELS if name in graphql}
    shared |= {name: graphql[f"{name}Input"] for name in MODELS if f"{name}Input" in graphql}
    assert len(shared) >= 20
    for name, shown in shared.items():
        expected = {
            re.sub("_([a-z0-9])", lambda found: found[1].upper(), field)
            for field in MODELS[name].model_fields
        }
        assert set(shown.fields) == expected, name  # type: ignore[attr-defined]


def test_every_operation_is_in_the_document_and_says_how_it_is_refused():
    document = json.loads(openapi_document())
    operations = {
        (method, path): operation
        for path, methods in document["paths"].items()
        for method, operation in methods.items()
    }
    assert len(operations) == 19
    for where, operation in operations.items():
        assert operation["security"], where
        assert {"401", "422", "500", "503"} <= set(operation["responses"]), where
        for status, answer in operation["responses"].items():
            if int(status) >= 400:
                schema = answer["content"]["application/json"]["schema"]
                assert schema == {"$ref": "#/components/schemas/MediaError"}, where


def test_operations_have_names_of_their_own():
    document = json.loads(openapi_document())
    names = [
        operation["operationId"] for methods in document["paths"].values() for operation in methods.values()
    ]
    assert len(set(names)) == len(names)


def test_the_guide_names_every_request_and_every_code():
    guide = (Path(__file__).parents[4] / "docs" / "library-api.md").read_text()
    named = set(re.findall(r"^\| `([A-Z]+ /[^`]*)` \|", guide, flags=re.MULTILINE))
    document = json.loads(openapi_document())
    served = {f"{method.upper()} {path}" for path, methods in document["paths"].items() for method in methods}
    assert named == served
    table = guide.split("## Answers that are no")[1].split("## Callbacks")[0]
    for line in re.findall(r"^\| (\d{3}) \| (.*) \|$", table, flags=re.MULTILINE):
        for code in re.findall(
            r"[A-Z]+_[A-Z_]+|INTERNAL|MISCONFIGURED|FENCED|CANCELLED|UNAUTHORIZED", line[1]
        ):
            assert status_of(LibraryErrorCode(code)) == int(line[0]), code


if __name__ == "__main__":
    for _name, _document in DOCUMENTS.items():
        (GOLDEN / _name).write_text(_document())
