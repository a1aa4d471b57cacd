"""The HTTP API of the control plane."""

# jsii's generated classes do not match its generated interfaces: parameter names differ.
# pyright: reportArgumentType=false, reportReturnType=false

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence

import jsii
from aws_cdk import RemovalPolicy
from aws_cdk import aws_apigateway as apigateway
from aws_cdk import aws_apigatewayv2 as apigatewayv2
from aws_cdk import aws_lambda as lambda_
from aws_cdk import aws_logs as logs
from aws_cdk.aws_apigatewayv2_integrations import HttpLambdaIntegration
from constructs import Construct

from infra.constructs.acknowledged import acknowledge


class ControlApi(Construct):
    """Routes requests to functions, which check signature or token themselves; bounds the rate."""

    def __init__(
        self,
        scope: Construct,
        construct_id: str,
        *,
        api_name: str,
        routes: Mapping[str, Sequence[str]],
        functions: Mapping[str, lambda_.Function],
        requests_per_s: int,
        burst_requests: int,
        log_retention: logs.RetentionDays,
    ) -> None:
        """Make the API.

        Args:
            scope: the parent.
            construct_id: unique among its siblings.
            api_name: shown in the console.
            routes: per function (by construct id) its routes, each "METHOD /path".
            functions: by construct id.
            requests_per_s: steady rate, all callers together.
            burst_requests: taken at once beyond that.
            log_retention: of the access log.
        """
        super().__init__(scope, construct_id)
        self.api = apigatewayv2.HttpApi(self, "Api", api_name=api_name, create_default_stage=False)
        for function, of_function in routes.items():
            integration = HttpLambdaIntegration(function, functions[function])
            for route in of_function:
                method, path = route.split(" ")
                for added in self.api.add_routes(
                    path=path, methods=[apigatewayv2.HttpMethod[method]], integration=integration
                ):
                    acknowledge(
                        added, "APIG4", "The function checks the relay's signature, or the token, itself."
                    )
        access_log = logs.LogGroup(
            self, "AccessLog", retention=log_retention, removal_policy=RemovalPolicy.DESTROY
        )
        apigatewayv2.HttpStage(
            self,
            "DefaultStage",
            http_api=self.api,
            stage_name="$default",
            auto_deploy=True,
            throttle=apigatewayv2.ThrottleSettings(rate_limit=requests_per_s, burst_limit=burst_requests),
            access_log_settings=_AccessLog(access_log),
        )


@jsii.implements(apigatewayv2.IAccessLogSettings)
class _AccessLog:
    """Who asked for which route with what result. Never the path or the query: they name streams."""

    def __init__(self, log_group: logs.LogGroup) -> None:
        self._log_group = log_group

    @property
    def destination(self) -> apigatewayv2.IAccessLogDestination:
        return apigatewayv2.LogGroupLogDestination(self._log_group)

    @property
    def format(self) -> apigateway.AccessLogFormat:
        fields = {
            "request_id": "$context.requestId",
            "route": "$context.routeKey",
            "status": "$context.status",
            "latency_ms": "$context.responseLatency",
            "source_ip": "$context.identity.sourceIp",
            "error": "$context.integrationErrorMessage",
        }
        return apigateway.AccessLogFormat.custom(json.dumps(fields, separators=(",", ":")))
