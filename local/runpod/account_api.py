"""RunPod's account API v2 under `/account/v2`: templates and serverless endpoints."""

from __future__ import annotations

import json
from collections.abc import Callable
from typing import Any, TypeVar

from pydantic import BaseModel, ValidationError
from starlette.requests import Request
from starlette.responses import Response
from starlette.routing import Route

from local.runpod.account import Account, AccountRefusalError
from local.runpod.account_requests import EndpointChange, NewEndpoint, NewTemplate, TemplateChange
from local.runpod.wire import Refusal, check_key, read_json

ACCOUNT_PATH = "/account/v2"

_MOST_BYTES = 1_000_000
_TITLES = {400: "Bad Request", 401: "Unauthorized", 404: "Not Found", 422: "Unprocessable Entity"}

_Body = TypeVar("_Body", bound=BaseModel)


def account_routes(account: Account, key: str) -> list[Route]:
    """Routes of the account API."""

    def route(path: str, method: str, operation: Callable[[str, bytes], tuple[int, Any]]) -> Route:
        async def handle(http: Request) -> Response:
            try:
                check_key(http, key)
                body, _ = await read_json(http, _MOST_BYTES) if method in {"POST", "PATCH"} else (None, 0)
                return _answer(*operation(http.path_params.get("id", ""), json.dumps(body).encode()))
            except Refusal as refusal:
                return _problem(refusal.status, refusal.problem)
            except AccountRefusalError as refusal:
                return _problem(refusal.status, refusal.message)
            except ValidationError as error:
                return _problem(422, "Request validation failed.", *map(_told, error.errors()))

        return Route(f"{ACCOUNT_PATH}{path}", handle, methods=[method])

    def gone(delete: Callable[[str], None]) -> Callable[[str, bytes], tuple[int, Any]]:
        def operation(resource_id: str, _body: bytes) -> tuple[int, Any]:
            delete(resource_id)
            return 204, None

        return operation

    return [
        route("/templates", "GET", lambda _id, _: (200, {"templates": account.templates()})),
        route(
            "/templates", "POST", lambda _id, body: (201, account.create_template(_read(NewTemplate, body)))
        ),
        route("/templates/{id}", "GET", lambda id_, _: (200, account.template(id_))),
        route(
            "/templates/{id}",
            "PATCH",
            lambda id_, body: (200, account.update_template(id_, _read(TemplateChange, body))),
        ),
        route("/templates/{id}", "DELETE", gone(account.delete_template)),
        route("/serverless", "GET", lambda _id, _: (200, {"endpoints": account.endpoints()})),
        route(
            "/serverless", "POST", lambda _id, body: (201, account.create_endpoint(_read(NewEndpoint, body)))
        ),
        route("/serverless/{id}", "GET", lambda id_, _: (200, account.endpoint(id_))),
        route(
            "/serverless/{id}",
            "PATCH",
            lambda id_, body: (200, account.update_endpoint(id_, _read(EndpointChange, body))),
        ),
        route("/serverless/{id}", "DELETE", gone(account.delete_endpoint)),
        route("/serverless/{id}/workers", "GET", lambda id_, _: (200, account.workers(id_))),
    ]


def _read(model: type[_Body], body: bytes) -> _Body:
    return model.model_validate_json(body)


def _answer(status: int, document: Any) -> Response:
    if document is None:
        return Response(status_code=status)
    return Response(json.dumps(document), status, media_type="application/json")


def _problem(status: int, detail: str, *errors: str) -> Response:
    document = {"title": _TITLES.get(status, "Error"), "status": status, "detail": detail}
    if errors:
        document["errors"] = list(errors)
    return Response(json.dumps(document), status, media_type="application/problem+json")


def _told(item: Any) -> str:
    return f"{'.'.join(map(str, item['loc'])) or '$'}: {item['msg']}"
