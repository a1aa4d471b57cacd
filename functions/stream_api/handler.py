"""`/v1/streams`: what operators see and ask for, by bearer token."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from aws_lambda_powertools.event_handler import APIGatewayHttpResolver, Response
from aws_lambda_powertools.logging import correlation_paths
from aws_lambda_powertools.utilities.data_classes import APIGatewayProxyEventV2
from aws_lambda_powertools.utilities.typing import LambdaContext

from livedub.supervision.function_telemetry import FunctionTelemetry
from livedub.supervision.http_answers import CONTENT_TYPE, HEADERS, json_answer, refused

if TYPE_CHECKING:
    from livedub.supervision.contract import Wire
    from livedub.supervision.stream_commands import StreamCommands

telemetry = FunctionTelemetry("stream_api")
app = APIGatewayHttpResolver()


@telemetry.handler(correlation_id=correlation_paths.API_GATEWAY_HTTP)
def handler(event: dict[str, Any], context: LambdaContext) -> dict[str, Any]:
    """Check the token, then route."""
    from livedub.supervision import function_work  # noqa: PLC0415 - a function must import fast

    try:
        function_work.check_operator(APIGatewayProxyEventV2(event))
    except Exception as error:  # noqa: BLE001 - logged there; nobody passes
        return json_answer(*refused(telemetry, error))
    return app.resolve(event, context)


@app.get("/v1/streams")
def list_streams() -> Response[str]:
    """Every stream."""
    return _json(200, _commands().list())


@app.get("/v1/streams/<stream_id>")
def get_stream(stream_id: str) -> Response[str]:
    """One stream."""
    return _json(200, _commands(stream_id).get(stream_id))


@app.get("/v1/streams/<stream_id>/events")
def get_events(stream_id: str) -> Response[str]:
    """What happened to it."""
    return _json(200, _commands(stream_id).events(stream_id))


@app.put("/v1/streams/<stream_id>")
def put_stream(stream_id: str) -> Response[str]:
    """Create it, or replace its settings."""
    from livedub.supervision import function_work  # noqa: PLC0415 - see handler

    registration = function_work.read_registration(app.current_event)
    created, detail = _commands(stream_id).put(stream_id, registration)
    return _json(201 if created else 200, detail)


@app.patch("/v1/streams/<stream_id>/settings")
def change_settings(stream_id: str) -> Response[str]:
    """Change its settings."""
    from livedub.supervision import function_work  # noqa: PLC0415 - see handler

    change = function_work.read_change(app.current_event)
    return _json(200, _commands(stream_id).change_settings(stream_id, change))


@app.post("/v1/streams/<stream_id>/key")
def new_stream_key(stream_id: str) -> Response[str]:
    """Give it another key."""
    return _json(200, _commands(stream_id).new_key(stream_id))


@app.post("/v1/streams/<stream_id>/start")
def start_stream(stream_id: str) -> Response[str]:
    """Let it run."""
    return _json(200, _commands(stream_id).start(stream_id))


@app.post("/v1/streams/<stream_id>/stop")
def stop_stream(stream_id: str) -> Response[str]:
    """End it for good."""
    return _json(200, _commands(stream_id).stop(stream_id))


@app.post("/v1/streams/<stream_id>/drain")
def drain_stream(stream_id: str) -> Response[str]:
    """End this run."""
    return _json(200, _commands(stream_id).drain(stream_id))


@app.not_found
def no_such_route(_error: Exception) -> Response[str]:
    """Nothing is served there."""
    from livedub.supervision.refusals import RequestRefusedError  # noqa: PLC0415 - see handler

    where = f"{app.current_event.http_method} {app.current_event.path[:200]}"
    return _json(*refused(telemetry, RequestRefusedError("BAD_PATH", 404, f"{where} is not served.")))


@app.exception_handler(Exception)
def refuse(error: Exception) -> Response[str]:
    """Whatever a route raised."""
    return _json(*refused(telemetry, error))


def _commands(stream_id: str = "") -> StreamCommands:
    from livedub.supervision import function_work  # noqa: PLC0415 - see handler

    telemetry.about(
        stream_id=stream_id, request=f"{app.current_event.http_method} {app.current_event.path[:200]}"
    )
    telemetry.count("Requests")
    return function_work.commands()


def _json(status: int, body: Wire) -> Response[str]:
    return Response(
        status_code=status, content_type=CONTENT_TYPE, body=body.model_dump_json(), headers=dict(HEADERS)
    )
