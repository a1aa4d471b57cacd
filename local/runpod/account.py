"""The templates and endpoints of the one account that is emulated, and what RunPod does with a change."""

from __future__ import annotations

import secrets
import string
from collections.abc import Callable, MutableMapping
from datetime import datetime, timezone
from typing import Any

from livedub.errors import LivedubError
from local.runpod.account_requests import (
    Container,
    EndpointChange,
    NewEndpoint,
    NewTemplate,
    TemplateChange,
    Workers,
)
from local.runpod.endpoint import Endpoint
from local.runpod.jobs import Json

_ID_LENGTH = 14
_NEW_WORKERS: Json = {"min": 0, "max": 3}
_IDLE_TIMEOUT_S = 10
"""What RunPod gives an endpoint that scales by queue delay and does not say."""

_CONTAINER: Json = {"args": "", "disk": 20, "ports": [], "env": {}, "registry": None}
_CONTAINER_FIELDS = frozenset({"image", *_CONTAINER})


class AccountRefusalError(LivedubError):
    """The account API says no, with this HTTP status."""

    def __init__(self, status: int, problem: str) -> None:
        super().__init__(problem)
        self.status = status


class Account:
    """Documents as the API answers them. An endpoint made here takes jobs at once; workers come from elsewhere."""

    def __init__(
        self,
        endpoints: MutableMapping[str, Endpoint],
        new_endpoint: Callable[[], Endpoint],
        *,
        new_id: Callable[[], str] | None = None,
    ) -> None:
        self._serving = endpoints
        self._new_endpoint = new_endpoint
        self._new_id = new_id or _new_id
        self._templates: dict[str, Json] = {}
        self._endpoints: dict[str, Json] = {}

    def templates(self) -> list[Json]:
        """All of them, the oldest first."""
        return list(self._templates.values())

    def template(self, template_id: str) -> Json:
        """One of them. Raises AccountRefusalError: 404."""
        return _known(self._templates, template_id, "template")

    def create_template(self, asked: NewTemplate) -> Json:
        """Keep a template. Raises AccountRefusalError: 400, another one has its name."""
        self._check_template_name(asked.name)
        template_id = self._new_id()
        document = {**_CONTAINER, **asked.model_dump(by_alias=True, exclude_none=True)}
        self._templates[template_id] = {"id": template_id, "mounts": {}, **document}
        return self._templates[template_id]

    def update_template(self, template_id: str, change: TemplateChange) -> Json:
        """Change what is named. Endpoints stay as they are. Raises AccountRefusalError: 400, 404."""
        document = self.template(template_id)
        if change.name is not None and change.name != document["name"]:
            self._check_template_name(change.name)
        document |= _named(change)
        return document

    def delete_template(self, template_id: str) -> None:
        """Forget it. Raises AccountRefusalError: 404."""
        self.template(template_id)
        del self._templates[template_id]

    def endpoints(self) -> list[Json]:
        """All that were made through this API, the oldest first."""
        return list(self._endpoints.values())

    def endpoint(self, endpoint_id: str) -> Json:
        """One of them. Raises AccountRefusalError: 404."""
        return _known(self._endpoints, endpoint_id, "endpoint")

    def create_endpoint(self, asked: NewEndpoint) -> Json:
        """Make an endpoint. Raises AccountRefusalError: 400, 404 and 422 as documented."""
        container = {**_CONTAINER, **self._container(asked, asked.template_id)}
        if not container.get("image"):
            raise AccountRefusalError(422, "image is required unless templateId is set")
        scaling = asked.scaling.model_dump(by_alias=True)
        gpu = asked.gpu.model_dump(by_alias=True)
        _check_cuda(gpu)
        endpoint_id = self._new_id()
        document: Json = {
            "id": endpoint_id,
            "name": asked.name,
            "type": asked.type,
            **container,
            "gpu": gpu,
            "workers": _workers(_NEW_WORKERS, asked.workers, scaling),
            "scaling": scaling,
            "dataCenterIds": asked.data_center_ids,
            "networkVolumes": asked.network_volumes,
            "timeout": asked.timeout,
            "flashboot": asked.flashboot,
            "createdAt": datetime.now(tz=timezone.utc).strftime("%Y-%m-%dT%H:%M:%SZ"),
        }
        self._endpoints[endpoint_id] = document
        self._serving[endpoint_id] = self._new_endpoint()
        return document

    def update_endpoint(self, endpoint_id: str, change: EndpointChange) -> Json:
        """Change what is named. Raises AccountRefusalError: 400, 404 and 422 as documented."""
        document = self.endpoint(endpoint_id)
        changed = {**document, **self._container(change, change.template_id)}
        changed |= {name: value for name, value in _named(change).items() if name in _PLAIN}
        if change.scaling is not None:
            changed["scaling"] = change.scaling.model_dump(by_alias=True)
        changed["workers"] = _workers(document["workers"], change.workers or Workers(), changed["scaling"])
        if change.gpu is not None:
            changed["gpu"] = _changed_gpu(document["gpu"], _named(change.gpu))
        document |= changed
        return document

    def delete_endpoint(self, endpoint_id: str) -> None:
        """Forget it with its jobs. Raises AccountRefusalError: 404."""
        self.endpoint(endpoint_id)
        del self._endpoints[endpoint_id]
        serving = self._serving.pop(endpoint_id, None)
        if serving is not None:
            serving.close()

    def workers(self, endpoint_id: str) -> Json:
        """Those that ask for jobs now. Raises AccountRefusalError: 404."""
        self.endpoint(endpoint_id)
        workers = [
            {"id": worker_id, "status": status}
            for worker_id, status in self._serving[endpoint_id].board.worker_states().items()
        ]
        statuses = ("RUNNING", "IDLE", "INITIALIZING", "THROTTLED", "UNHEALTHY")
        summary = {status.lower(): sum(each["status"] == status for each in workers) for status in statuses}
        return {"endpointVersion": 0, "summary": {**summary, "total": len(workers)}, "workers": workers}

    def _container(self, asked: Container, template_id: str | None) -> Json:
        """The container's settings that a body names, over those of the template it names."""
        own = {name: value for name, value in _named(asked).items() if name in _CONTAINER_FIELDS}
        if not template_id:
            return own
        template = self.template(template_id)
        if not template["serverless"]:
            raise AccountRefusalError(422, f"template {template_id} is not a serverless template")
        merged = {name: template[name] for name in _CONTAINER_FIELDS} | own
        return merged | {"env": {**template["env"], **own.get("env", {})}}

    def _check_template_name(self, name: str) -> None:
        if any(document["name"] == name for document in self._templates.values()):
            raise AccountRefusalError(400, f"a template named {name!r} already exists")


_PLAIN = frozenset({"name", "dataCenterIds", "networkVolumes", "timeout", "flashboot"})


def _named(asked: Any) -> Json:
    """What a body names; null is a value."""
    return asked.model_dump(by_alias=True, exclude_unset=True)


def _known(documents: dict[str, Json], resource_id: str, kind: str) -> Json:
    if resource_id not in documents:
        raise AccountRefusalError(404, f"{kind} not found")
    return documents[resource_id]


def _workers(before: Json, asked: Workers, scaling: Json) -> Json:
    given = _named(asked)
    by_queue_delay = scaling["type"] == "QUEUE_DELAY"
    if "idleTimeout" in given and not by_queue_delay:
        raise AccountRefusalError(
            400, "workers.idleTimeout does not apply to REQUEST_COUNT on a queue endpoint"
        )
    workers = {**before, **given}
    if by_queue_delay:
        workers.setdefault("idleTimeout", _IDLE_TIMEOUT_S)
    else:
        workers.pop("idleTimeout", None)
    if workers["min"] > workers["max"]:
        raise AccountRefusalError(400, "workers.min exceeds workers.max")
    return workers


def _changed_gpu(before: Json, given: Json) -> Json:
    if "excludedTypes" in given and "pools" not in given:
        raise AccountRefusalError(422, "gpu.excludedTypes requires gpu.pools")
    changed = {**before, **given}
    if "pools" in given:
        changed["excludedTypes"] = given.get("excludedTypes", [])
    changed["minCudaVersion"] = changed["minCudaVersion"] or None
    _check_cuda(changed)
    return changed


def _check_cuda(gpu: Json) -> None:
    if gpu["allowedCudaVersions"] and gpu["minCudaVersion"]:
        raise AccountRefusalError(400, "gpu.allowedCudaVersions and gpu.minCudaVersion exclude each other")


def _new_id() -> str:
    return "".join(secrets.choice(string.ascii_lowercase + string.digits) for _ in range(_ID_LENGTH))
