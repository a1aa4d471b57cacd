"""What is deployed in moto, for the HTTP front."""

from __future__ import annotations

from collections.abc import Mapping

from moto.apigatewayv2.models import apigatewayv2_backends
from moto.core.exceptions import JsonRESTError

from local.aws.function_spec import DEFAULT_REGION, FunctionSpec
from local.aws.http_event import ACCOUNT_ID
from local.aws.overlay.lambda_functions import find_function, spec_of
from local.aws.runtime import Runtime


class MotoCatalogue:
    """Reads moto's backends directly: every request asks, so it must cost microseconds."""

    def __init__(self, runtime: Runtime) -> None:
        self._runtime = runtime

    def routes(self, api_id: str) -> Mapping[str, str] | None:
        """Route keys and the function behind each; None for an unknown API."""
        for backend in list(apigatewayv2_backends[ACCOUNT_ID].values()):
            api = backend.apis.get(api_id)
            if api is not None:
                return {
                    route.route_key: _function_arn(
                        api.integrations[_integration_id(route.target)].integration_uri
                    )
                    for route in list(api.routes.values())
                    if route.target and _integration_id(route.target) in api.integrations
                }
        return None

    def function(self, name_or_arn: str) -> FunctionSpec | None:
        """The function as configured now; None for an unknown one."""
        try:
            return spec_of(find_function(name_or_arn, DEFAULT_REGION), self._runtime)
        except JsonRESTError:
            return None


def _integration_id(target: str) -> str:
    return target.removeprefix("integrations/")


def _function_arn(uri: str) -> str:
    # Either the function's ARN, or arn:...:path/2015-03-31/functions/<ARN>/invocations
    return uri.partition("/functions/")[2].removesuffix("/invocations") or uri
