import httpx
import pytest

from livedub.errors import ConfigurationError
from livedub.supervision.stream_api_client import (
    StreamApi,
    StreamApiRefusedError,
    StreamApiUnavailableError,
)

URL = "https://api.example/_local/api/abc"


class Scripted(httpx.BaseTransport):
    """Gives one answer after the other; an exception is raised."""

    def __init__(self, *answers: httpx.Response | Exception) -> None:
        self.answers = list(answers)
        self.requests: list[httpx.Request] = []

    def handle_request(self, request: httpx.Request) -> httpx.Response:
        self.requests.append(request)
        answer = self.answers.pop(0)
        if isinstance(answer, Exception):
            raise answer
        return answer


def asking(*answers: httpx.Response | Exception) -> tuple[StreamApi, Scripted]:
    transport = Scripted(*answers)
    return StreamApi(URL + "/", "tok", transport=transport), transport


EMPTY = {"streams": []}


def test_the_token_and_the_whole_address_are_used():
    api, transport = asking(httpx.Response(200, json=EMPTY))
    assert api.streams().streams == []
    assert str(transport.requests[0].url) == f"{URL}/v1/streams"
    assert transport.requests[0].headers["authorization"] == "Bearer tok"


def test_a_read_whose_connection_broke_is_asked_again_and_a_change_is_not():
    api, _ = asking(httpx.RemoteProtocolError("closed"), httpx.Response(200, json=EMPTY))
    assert api.streams().streams == []
    api, transport = asking(httpx.RemoteProtocolError("closed"), httpx.Response(200, json=EMPTY))
    with pytest.raises(StreamApiUnavailableError, match="closed"):
        api.stop("gala")
    assert len(transport.requests) == 1


def test_a_refusal_keeps_code_status_and_remedy():
    body = {
        "code": "RESTART_REQUIRED",
        "message": "delay_ms needs a restart.",
        "remedy": "Repeat with restart.",
    }
    api, _ = asking(httpx.Response(409, json=body))
    with pytest.raises(
        StreamApiRefusedError, match=r"delay_ms needs a restart \(RESTART_REQUIRED\)\."
    ) as refused:
        api.change_settings("gala", {"delay_ms": 1_000})
    assert (refused.value.code, refused.value.status) == ("RESTART_REQUIRED", 409)
    assert refused.value.remedy == "Repeat with restart."


@pytest.mark.parametrize(
    "answer", [httpx.Response(502, text="<html>"), httpx.Response(404, json={"message": "Not Found"})]
)
def test_an_error_of_somebody_else_is_no_refusal(answer: httpx.Response):
    api, _ = asking(answer)
    with pytest.raises(StreamApiUnavailableError, match="not as the stream API does"):
        api.streams()


def test_an_answer_that_is_none_is_said():
    api, _ = asking(httpx.Response(200, json={"hello": 1}))
    with pytest.raises(StreamApiUnavailableError, match="no StreamList"):
        api.streams()


@pytest.mark.parametrize("url", ["", "api.example", "ftp://api.example", "http://"])
def test_an_address_that_is_none_is_a_configuration_error(url: str):
    with pytest.raises(ConfigurationError, match="LIVEDUB_API_URL"):
        StreamApi(url, "tok")
