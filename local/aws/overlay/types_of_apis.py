"""HTTP APIs and function URLs, by moto's own service, so that the front finds them."""

from __future__ import annotations

from collections.abc import Mapping
from types import MappingProxyType

from moto.apigatewayv2.models import apigatewayv2_backends
from moto.awslambda.models import lambda_backends

from local.aws.overlay.resource import Made, ResourceType, Wanted


def _function_url(wanted: Wanted) -> Made:
    backend = lambda_backends[wanted.account_id][wanted.region]
    function = backend.get_function(wanted.properties["TargetFunctionArn"])
    name = function.function_name
    backend.create_function_url_config(name, {"AuthType": wanted.properties.get("AuthType", "NONE")})
    return Made(
        function.function_arn,
        lambda: backend.delete_function_url_config(name),
        {
            "FunctionArn": function.function_arn,
            "FunctionUrl": f"{wanted.endpoint}/_local/lambda/{name}/",
        },
    )


def _api(wanted: Wanted) -> Made:
    backend = apigatewayv2_backends[wanted.account_id][wanted.region]
    properties = wanted.properties
    api = backend.create_api(
        api_key_selection_expression="",
        cors_configuration=properties.get("CorsConfiguration", ""),
        description=properties.get("Description", ""),
        disable_schema_validation="",
        disable_execute_api_endpoint="",
        name=properties.get("Name", wanted.name),
        protocol_type=properties.get("ProtocolType", "HTTP"),
        route_selection_expression="",
        tags=properties.get("Tags", {}),
        version="",
    )
    api.api_endpoint = f"{wanted.endpoint}/_local/api/{api.api_id}"
    return Made(
        api.api_id,
        lambda: backend.delete_api(api.api_id),
        {"ApiId": api.api_id, "ApiEndpoint": api.api_endpoint},
    )


def _integration(wanted: Wanted) -> Made:
    properties = wanted.properties
    api = apigatewayv2_backends[wanted.account_id][wanted.region].get_api(properties["ApiId"])
    made = api.create_integration(
        connection_type=properties.get("ConnectionType", "INTERNET"),
        description=properties.get("Description", ""),
        integration_method=properties.get("IntegrationMethod", "POST"),
        integration_type=properties["IntegrationType"],
        integration_uri=properties["IntegrationUri"],
        payload_format_version=properties.get("PayloadFormatVersion", "2.0"),
        timeout_in_millis=properties.get("TimeoutInMillis"),
    )
    return Made(made.id, lambda: api.delete_integration(made.id))


def _route(wanted: Wanted) -> Made:
    properties = wanted.properties
    api = apigatewayv2_backends[wanted.account_id][wanted.region].get_api(properties["ApiId"])
    made = api.create_route(
        api_key_required=False,
        authorization_scopes=[],
        authorization_type=properties.get("AuthorizationType"),
        route_key=properties["RouteKey"],
        target=properties.get("Target", ""),
    )
    return Made(made.route_id, lambda: api.delete_route(made.route_id), {"RouteId": made.route_id})


def _stage(wanted: Wanted) -> Made:
    properties = wanted.properties
    api = apigatewayv2_backends[wanted.account_id][wanted.region].get_api(properties["ApiId"])
    name = properties["StageName"]
    api.create_stage({"stageName": name, "autoDeploy": properties.get("AutoDeploy")})
    return Made(name, lambda: api.delete_stage(name))


TYPES: Mapping[str, ResourceType] = MappingProxyType(
    {
        "AWS::Lambda::Url": ResourceType(_function_url, ("FunctionArn", "FunctionUrl")),
        "AWS::ApiGatewayV2::Api": ResourceType(_api, ("ApiId", "ApiEndpoint")),
        "AWS::ApiGatewayV2::Integration": ResourceType(_integration),
        "AWS::ApiGatewayV2::Route": ResourceType(_route, ("RouteId",)),
        "AWS::ApiGatewayV2::Stage": ResourceType(_stage),
    }
)
