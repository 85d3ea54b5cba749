"""The routes that tell of the server: whether it is ready, what it serves, its metrics."""

from importlib.metadata import version
from typing import Any

from fastapi import APIRouter, Request, Response
from prometheus_client import CONTENT_TYPE_LATEST, generate_latest

from taskvec_integrations.server import responses
from taskvec_integrations.server.documentation import Problem
from taskvec_integrations.server.model_names import task_of_alias
from taskvec_integrations.server.queue import OverloadedError
from taskvec_integrations.server.service import Service


def ready_service(request: Request) -> Service:
    """The service of a request's app; OverloadedError before the model is loaded, and when the server stops."""
    service: Service | None = request.app.state.service
    if service is None or not service.scheduler.alive:
        raise OverloadedError("the model is not loaded yet, or the server is shutting down: try again later", 2, 503)
    return service


def status_routes() -> APIRouter:
    """The routes of health, models and metrics."""
    router = APIRouter(tags=["Server"])

    @router.get("/health", responses={503: {"model": Problem}})
    @router.get("/ready", responses={503: {"model": Problem}})
    @router.get("/ping", responses={503: {"model": Problem}})
    async def ready(request: Request) -> Response:
        """200 while the server takes requests, 503 before and after."""
        ready_service(request)
        return Response(b'{"status":"ok"}', media_type="application/json")

    @router.get("/live")
    async def live() -> dict[str, str]:
        """200 as long as the process runs."""
        return {"status": "ok"}

    @router.get("/info", responses={503: {"model": Problem}})
    async def info(request: Request) -> Response:
        """The model that is served, in the fields of Text Embeddings Inference."""
        return Response(responses.to_json(_info(ready_service(request))), media_type="application/json")

    @router.get("/models", responses={503: {"model": Problem}})
    async def models(request: Request) -> Response:
        """The model that is served, as Pinecone's inference API lists it."""
        service = ready_service(request)
        served = [_pinecone_model(service, name) for name in service.served_names]
        return Response(responses.to_json({"models": served}), media_type="application/json")

    @router.get("/models/{name:path}", responses={404: {"model": Problem}, 503: {"model": Problem}})
    async def model(request: Request, name: str) -> Response:
        """One name that the model is served under, as Pinecone's inference API describes it."""
        service = ready_service(request)
        task_of_alias(name, service.served_names)
        return Response(responses.to_json(_pinecone_model(service, name)), media_type="application/json")

    @router.get("/metrics", response_class=Response)
    async def metrics(request: Request) -> Response:
        """Metrics for Prometheus."""
        return Response(generate_latest(request.app.state.metrics.registry), media_type=CONTENT_TYPE_LATEST)

    return router


def _info(service: Service) -> dict[str, Any]:
    encoder = service.encoder
    return {
        "model_id": encoder.model_id,
        "model_sha": encoder.fingerprint,
        "model_dtype": str(encoder.dtype).removeprefix("torch."),
        "model_type": {"embedding": {"pooling": "mean"}},
        "max_input_length": encoder.max_tokens,
        "max_batch_tokens": encoder.max_batch_tokens,
        "max_concurrent_requests": None,
        "dimensions": encoder.dimensions,
        "tasks": [*map(str, encoder.tasks)],
        "served_model_names": [*service.served_names],
        "device": str(encoder.device),
        "version": version("taskvec"),
    }


def _pinecone_model(service: Service, name: str) -> dict[str, Any]:
    return {
        "model": name,
        "short_description": "jina-embeddings-v3 on your own hardware",
        "type": "embed",
        "vector_type": "dense",
        "default_dimension": service.encoder.dimensions,
        "modality": "text",
        "max_sequence_length": service.encoder.max_tokens,
        "provider_name": "taskvec",
        "supported_metrics": ["cosine", "dotproduct", "euclidean"],
        "supported_parameters": [],
    }
