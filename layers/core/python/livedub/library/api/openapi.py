"""The OpenAPI document of the library's API, made from its routes."""

from __future__ import annotations

import functools
import json

from aws_lambda_powertools.event_handler.openapi.models import APIKey, APIKeyIn, HTTPBearer

from livedub import __version__
from livedub.library.api.routes import app


@functools.cache
def openapi_document() -> str:
    """The document as JSON, the same for the same code."""
    text = app.get_openapi_json_schema(
        title="livedub media library",
        version=__version__,
        description="Files in S3-compatible storage, their catalogue, and jobs that transcode, trim and dub them.",
        security_schemes={
            "bearer": HTTPBearer(description="LIBRARY_API_TOKEN of the deployment."),
            "signature": APIKey.model_validate(
                {
                    "name": "X-Livedub-Signature",
                    "in": APIKeyIn.header,
                    "description": "HMAC-SHA256 of method, path, time, nonce and body, with LIBRARY_CALLBACK_SECRET; "
                    "X-Livedub-Timestamp and X-Livedub-Nonce come with it.",
                }
            ),
        },
    )
    return json.dumps(json.loads(text), indent=2, sort_keys=True) + "\n"
