"""CloudFormation resource types that moto lacks, made by moto's own services so that everything else sees them."""

from __future__ import annotations

import json
import secrets
import string
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from types import MappingProxyType
from typing import Any

from moto.apigatewayv2.models import apigatewayv2_backends
from moto.awslambda.models import lambda_backends
from moto.core.common_models import CloudFormationModel
from moto.secretsmanager.models import secretsmanager_backends

from local.aws.runtime import Runtime

_PUNCTUATION = "!\"#$%&'()*+,-./:;<=>?@[\\]^_`{|}~"


@dataclass(frozen=True, slots=True)
class _Wanted:
    """A resource of a template, its references resolved."""

    name: str
    properties: Mapping[str, Any]
    account_id: str
    region: str
    endpoint: str


@dataclass(frozen=True, slots=True)
class _Made:
    """A resource that exists: what Ref and GetAtt give, and how it goes."""

    physical_id: str
    remove: Callable[[], object]
    attributes: Mapping[str, str] = field(default_factory=dict[str, str])


def random_secret(options: Mapping[str, Any]) -> str:
    """A secret as `GenerateSecretString` asks for: alphabet, length, template and key."""
    classes = (
        (string.ascii_lowercase, "ExcludeLowercase"),
        (string.ascii_uppercase, "ExcludeUppercase"),
        (string.digits, "ExcludeNumbers"),
        (_PUNCTUATION, "ExcludePunctuation"),
    )
    alphabet = {one for members, excluded in classes if not _truth(options.get(excluded)) for one in members}
    if _truth(options.get("IncludeSpace")):
        alphabet.add(" ")
    letters = sorted(alphabet - set(options.get("ExcludeCharacters", "")))
    value = "".join(secrets.choice(letters) for _ in range(int(options.get("PasswordLength", 32))))
    key = options.get("GenerateStringKey")
    if not key:
        return value
    return json.dumps({**json.loads(options.get("SecretStringTemplate") or "{}"), key: value})


def _truth(value: Any) -> bool:
    return str(value).lower() == "true"


def _secret(wanted: _Wanted) -> _Made:
    backend = secretsmanager_backends[wanted.account_id][wanted.region]
    properties = wanted.properties
    made = backend.create_secret(
        name=properties.get("Name", wanted.name),
        secret_string=properties.get("SecretString")
        or random_secret(properties.get("GenerateSecretString", {})),
        secret_binary=None,
        description=properties.get("Description"),
        tags=properties.get("Tags", []),
        kms_key_id=properties.get("KmsKeyId"),
        client_request_token=None,
        replica_regions=[],
        force_overwrite=False,
    )
    arn = json.loads(made)["ARN"]

    def remove() -> None:
        backend.delete_secret(arn, recovery_window_in_days=None, force_delete_without_recovery=True)

    return _Made(arn, remove, {"Id": arn})


def _function_url(wanted: _Wanted) -> _Made:
    backend = lambda_backends[wanted.account_id][wanted.region]
    function = backend.get_function(wanted.properties["TargetFunctionArn"])
    name = function.function_name
    backend.create_function_url_config(name, {"AuthType": wanted.properties.get("AuthType", "NONE")})
    return _Made(
        function.function_arn,
        lambda: backend.delete_function_url_config(name),
        {
            "FunctionArn": function.function_arn,
            "FunctionUrl": f"{wanted.endpoint}/_local/lambda/{name}/",
        },
    )


def _api(wanted: _Wanted) -> _Made:
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
    return _Made(
        api.api_id,
        lambda: backend.delete_api(api.api_id),
        {"ApiId": api.api_id, "ApiEndpoint": api.api_endpoint},
    )


def _integration(wanted: _Wanted) -> _Made:
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
    return _Made(made.id, lambda: api.delete_integration(made.id))


def _route(wanted: _Wanted) -> _Made:
    properties = wanted.properties
    api = apigatewayv2_backends[wanted.account_id][wanted.region].get_api(properties["ApiId"])
    made = api.create_route(
        api_key_required=False,
        authorization_scopes=[],
        authorization_type=properties.get("AuthorizationType"),
        route_key=properties["RouteKey"],
        target=properties.get("Target", ""),
    )
    return _Made(made.route_id, lambda: api.delete_route(made.route_id), {"RouteId": made.route_id})


def _stage(wanted: _Wanted) -> _Made:
    properties = wanted.properties
    api = apigatewayv2_backends[wanted.account_id][wanted.region].get_api(properties["ApiId"])
    name = properties["StageName"]
    api.create_stage({"stageName": name, "autoDeploy": properties.get("AutoDeploy")})
    return _Made(name, lambda: api.delete_stage(name))


TYPES: Mapping[str, tuple[Callable[[_Wanted], _Made], tuple[str, ...]]] = MappingProxyType(
    {
        "AWS::SecretsManager::Secret": (_secret, ("Id",)),
        "AWS::Lambda::Url": (_function_url, ("FunctionArn", "FunctionUrl")),
        "AWS::ApiGatewayV2::Api": (_api, ("ApiId", "ApiEndpoint")),
        "AWS::ApiGatewayV2::Integration": (_integration, ()),
        "AWS::ApiGatewayV2::Route": (_route, ("RouteId",)),
        "AWS::ApiGatewayV2::Stage": (_stage, ()),
    }
)
"""How each type is made, and the attributes GetAtt knows."""

_defined: list[type] = []
"""Keeps the classes alive: moto finds types among the living subclasses of its model."""


def define(runtime: Runtime) -> None:
    """Make the types known to moto's CloudFormation; once per process, before its first template."""
    _defined.extend(_model(type_name, runtime) for type_name in TYPES)


def _model(type_name: str, runtime: Runtime) -> type:
    make, attributes = TYPES[type_name]

    class Model(CloudFormationModel):
        # moto reads a service's name out of the module of each of its models.
        __module__ = "moto.cloudformation.local"

        def __init__(self, made: _Made) -> None:
            self.physical_resource_id = made.physical_id
            self._made = made

        @staticmethod
        def cloudformation_name_type() -> str:
            return ""

        @staticmethod
        def cloudformation_type() -> str:
            return type_name

        @classmethod
        def has_cfn_attr(cls, attr: str) -> bool:
            return attr in attributes

        def get_cfn_attribute(self, attribute_name: str) -> str:
            return self._made.attributes[attribute_name]

        def is_created(self) -> bool:
            return True

        def delete(self, _account_id: str, _region_name: str) -> None:
            self._made.remove()

        @classmethod
        def create_from_cloudformation_json(
            cls,
            resource_name: str,
            cloudformation_json: dict[str, Any],
            account_id: str,
            region_name: str,
            **_: Any,
        ) -> Any:
            properties = cloudformation_json["Properties"]
            return cls(make(_Wanted(resource_name, properties, account_id, region_name, runtime.endpoint)))

        @classmethod
        def update_from_cloudformation_json(cls, original_resource: Any, *_: Any, **__: Any) -> Any:
            return original_resource  # docs/local-aws.md: a stack is deployed once, to a fresh server

    Model.__name__ = type_name.replace("::", "")
    return Model
