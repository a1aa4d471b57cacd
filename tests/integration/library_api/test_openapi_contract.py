"""The library's API against its own documents: what schemathesis makes of OpenAPI and GraphQL, asked of the handler.

Checked of every answer: no server error, a status and a content type that the document names, a body of its schema; that
what breaks the document is refused, that unknown methods are, and that nobody passes without a token.
"""

from __future__ import annotations

import importlib
import json
from collections.abc import Mapping
from typing import Any

import pytest
import schemathesis
from hypothesis import HealthCheck, settings
from schemathesis import checks

from livedub.library.api.graphql_schema import sdl
from livedub.library.api.routes import GRAPHQL_PATH, OPENAPI_PATH
from livedub.library.library_errors import LibraryErrorCode
from local.function_front import FunctionFront
from tests.integration.library_api.rig import TOKEN, LibraryRig
from tests.unit.functions.rig import Context

pytestmark = pytest.mark.slow


async def ask_handler(event: Mapping[str, Any]) -> bytes:
    handler = importlib.import_module("functions.library_api.handler").handler
    return json.dumps(handler(json.loads(json.dumps(event)), Context("library_api"))).encode()


schema = schemathesis.openapi.from_asgi(OPENAPI_PATH, FunctionFront(ask_handler))


@schemathesis.auth().apply_to(path_regex=".*")
class _Bearer:
    def get(self, case: schemathesis.Case, context: Any) -> str:
        return TOKEN

    def set(self, case: schemathesis.Case, data: str, context: Any) -> None:
        case.headers["Authorization"] = f"Bearer {data}"


@schema.parametrize()
@settings(
    max_examples=20,
    deadline=None,
    suppress_health_check=[
        HealthCheck.too_slow,
        HealthCheck.function_scoped_fixture,
        HealthCheck.filter_too_much,
    ],
)
def test_the_api_keeps_its_word(library: LibraryRig, case: schemathesis.Case):
    # Keys, cursors and names have rules that JSON Schema cannot say: what fits the document may still be refused.
    excluded: list[Any] = [checks.CHECKS.get_one("positive_data_acceptance")]
    case.call_and_validate(excluded_checks=excluded)


graphql = schemathesis.graphql.from_file(sdl())
graphql.app = FunctionFront(ask_handler)


@graphql.parametrize()
@settings(
    max_examples=10,
    deadline=None,
    suppress_health_check=[
        HealthCheck.too_slow,
        HealthCheck.function_scoped_fixture,
        HealthCheck.filter_too_much,
    ],
)
def test_every_query_that_fits_the_schema_is_answered(library: LibraryRig, case: schemathesis.Case):
    case.path = GRAPHQL_PATH
    response = case.call(headers={"authorization": f"Bearer {TOKEN}"})
    assert response.status_code == 200
    answer = response.json()
    codes = {error["extensions"]["code"] for error in answer["errors"] or ()}
    assert "INTERNAL" not in codes
    assert codes <= {code.value for code in LibraryErrorCode}
