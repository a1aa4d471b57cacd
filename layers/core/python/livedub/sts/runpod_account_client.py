"""RunPod's account API v2: the templates and endpoints of an account."""

from __future__ import annotations

import re
from collections.abc import Generator
from typing import Any, TypeVar
from urllib.parse import urlencode

import httpx
from pydantic import BaseModel, ValidationError

from livedub.bearer_api_client import BearerApi
from livedub.errors import ConfigurationError, LivedubError
from livedub.sts.runpod_account import (
    EndpointList,
    Page,
    RunpodEndpoint,
    Template,
    TemplateList,
    WorkerList,
    WorkerSummary,
)

DEFAULT_ACCOUNT_URL = "https://api.runpod.io/v2"
KEY_VARIABLE = "RUNPOD_API_KEY"
URL_VARIABLE = "RUNPOD_ACCOUNT_URL"

_TIMEOUT_S = 30.0
_SAID_CHARACTERS = 500
_MOST_PAGES = 100
_NOT_FOUND = 404
_SERVER_FAULT = 500
_ID = re.compile(r"[A-Za-z0-9][A-Za-z0-9_-]{0,127}")
_REMEDIES = {
    401: f"Give a key of the account in {KEY_VARIABLE}; RunPod's console makes them under Settings, API keys.",
    403: "Give a key that may change Serverless endpoints and templates.",
    404: f"Somebody else removed it meanwhile, or {URL_VARIABLE} is another API's address. Run the command again.",
    429: "Wait a minute and run the command again; it goes on where it was.",
}
_REMEDY = "Correct what RunPod names, and run the command again; it goes on where it was."

_Model = TypeVar("_Model", bound=BaseModel)
_PageModel = TypeVar("_PageModel", bound=Page)


class RunpodAccountRefusedError(LivedubError):
    """RunPod understood and said no; `status` is the HTTP status."""

    def __init__(self, status: int, message: str, *, remedy: str = "") -> None:
        super().__init__(message, remedy=remedy)
        self.status = status


class RunpodAccountUnavailableError(LivedubError):
    """Nobody answered, or nobody who is RunPod's account API."""


class RunpodAccount(BearerApi):
    """A context manager over one connection pool. Every method raises one of the two errors above.

    Reads are asked a second time when the connection broke; a change is not, because it may have been made.
    """

    def __init__(
        self, api_key: str, url: str = DEFAULT_ACCOUNT_URL, *, transport: httpx.BaseTransport | None = None
    ) -> None:
        """`url` is the API's address with its version.

        Raises:
            ConfigurationError: `url` is no http(s) address, or the key cannot be one.
        """
        if not api_key.isascii() or not api_key.isprintable() or " " in api_key:
            raise ConfigurationError(f"{KEY_VARIABLE} is no API key.", remedy=_REMEDIES[401])
        super().__init__(
            url,
            api_key,
            timeout_s=_TIMEOUT_S,
            variable=URL_VARIABLE,
            example=DEFAULT_ACCOUNT_URL,
            transport=transport,
        )

    def templates(self) -> list[Template]:
        """Every template of the account."""
        return [each for page in self._pages(TemplateList, "/templates") for each in page.templates]

    def create_template(self, body: Any) -> Template:
        """Make one."""
        return self._ask(Template, "POST", "/templates", body)

    def update_template(self, template_id: str, body: Any) -> Template:
        """Change what `body` names. Endpoints made of it before stay as they are."""
        return self._ask(Template, "PATCH", f"/templates/{_checked(template_id)}", body)

    def delete_template(self, template_id: str) -> bool:
        """Delete it for good; False when it was gone already."""
        return self._delete(f"/templates/{_checked(template_id)}")

    def endpoints(self) -> list[RunpodEndpoint]:
        """Every serverless endpoint of the account."""
        return [each for page in self._pages(EndpointList, "/serverless") for each in page.endpoints]

    def create_endpoint(self, body: Any) -> RunpodEndpoint:
        """Make one."""
        return self._ask(RunpodEndpoint, "POST", "/serverless", body)

    def update_endpoint(self, endpoint_id: str, body: Any) -> RunpodEndpoint:
        """Change what `body` names; workers are replaced one after the other where the container changes."""
        return self._ask(RunpodEndpoint, "PATCH", f"/serverless/{_checked(endpoint_id)}", body)

    def delete_endpoint(self, endpoint_id: str) -> bool:
        """Delete it for good, with its workers and jobs; False when it was gone already."""
        return self._delete(f"/serverless/{_checked(endpoint_id)}")

    def workers(self, endpoint_id: str) -> WorkerSummary:
        """How many workers the endpoint has now."""
        return self._ask(WorkerList, "GET", f"/serverless/{_checked(endpoint_id)}/workers").summary

    def _pages(self, model: type[_PageModel], path: str) -> Generator[_PageModel]:
        """A list whole: what it lacked would be made a second time."""
        page = self._ask(model, "GET", path)
        yield page
        for _ in range(_MOST_PAGES):
            if not page.next_cursor:
                return
            page = self._ask(model, "GET", f"{path}?{urlencode({'cursor': page.next_cursor})}")
            yield page
        raise RunpodAccountUnavailableError(
            f"{self._url} answers GET {path} in more than {_MOST_PAGES} parts.",
            remedy=f"Check {URL_VARIABLE}.",
        )

    def _delete(self, path: str) -> bool:
        response = self._send("DELETE", path)
        if response.status_code == _NOT_FOUND:
            return False
        if not response.is_success:
            raise _refusal("DELETE", path, response)
        return True

    def _ask(self, model: type[_Model], method: str, path: str, body: Any = None) -> _Model:
        response = self._send(method, path, body)
        if not response.is_success:
            raise _refusal(method, path, response)
        try:
            return model.model_validate_json(response.content)
        except ValidationError as error:
            # Without the cause: its text quotes the answer, which holds the worker's variables.
            problem = error.errors(include_input=False, include_url=False)[0]
            raise RunpodAccountUnavailableError(
                f"{self._url} answered {method} {path} with something that is no {model.__name__}: "
                f"{'.'.join(map(str, problem['loc']))}: {problem['msg']}.",
                remedy=f"Check {URL_VARIABLE}; RunPod's API may have changed.",
            ) from None

    def _send(self, method: str, path: str, body: Any = None) -> httpx.Response:
        try:
            return self._exchange(method, path, body=body, repeatable=method == "GET")
        except httpx.HTTPError as error:
            raise RunpodAccountUnavailableError(
                f"RunPod's account API at {self._url} does not answer: {error or type(error).__name__}.",
                remedy="Run the command again; it looks at what is there first.",
            ) from error


def _checked(resource_id: str) -> str:
    if not _ID.fullmatch(resource_id):
        raise RunpodAccountUnavailableError(
            f"RunPod named something by an id that is none: {resource_id[:160]!r}.",
            remedy=f"Check {URL_VARIABLE}.",
        )
    return resource_id


def _refusal(method: str, path: str, response: httpx.Response) -> LivedubError:
    status = response.status_code
    said = _said(response)
    if status >= _SERVER_FAULT:
        return RunpodAccountUnavailableError(
            f"RunPod's account API is failing at {method} {path} (HTTP {status}): {said}.",
            remedy="See RunPod's status page, and run the command again later.",
        )
    return RunpodAccountRefusedError(
        status,
        f"RunPod refused {method} {path} (HTTP {status}): {said}.",
        remedy=_REMEDIES.get(status, _REMEDY),
    )


class _Problem(BaseModel):
    """RFC 9457, as RunPod fills it."""

    title: str = ""
    detail: str = ""
    errors: list[str] = []


def _said(response: httpx.Response) -> str:
    try:
        problem = _Problem.model_validate_json(response.content)
    except ValidationError:
        return "no reason given"
    text = "; ".join(part for part in (problem.detail or problem.title, *problem.errors) if part)
    return " ".join(text.split())[:_SAID_CHARACTERS].rstrip(".") or "no reason given"
