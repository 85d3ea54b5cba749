"""The app: the routes of every dialect around one service."""

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from importlib.metadata import version
from pathlib import Path
from typing import Any

from fastapi import APIRouter, FastAPI, Request, Response
from prometheus_client import CONTENT_TYPE_LATEST, generate_latest

from taskvec import Encoder, Task
from taskvec.integration import DEFAULT_MODEL, DOCUMENT_TASK, QUERY_TASK, run_in_thread
from taskvec_integrations.lazy_encoder import LazyEncoder
from taskvec_integrations.server import responses
from taskvec_integrations.server.bodies import EmbedBody, EmbeddingsBody, InvocationBody, PineconeBody, TeiBody
from taskvec_integrations.server.documentation import DESCRIPTION, EmbeddingList, Problem
from taskvec_integrations.server.errors import HANDLERS
from taskvec_integrations.server.metrics import Metrics
from taskvec_integrations.server.middleware import RequestMiddleware
from taskvec_integrations.server.model_names import PREFIXES, task_of_alias
from taskvec_integrations.server.pages import page_routes
from taskvec_integrations.server.queue import OverloadedError
from taskvec_integrations.server.request import BARE_MODEL, EmbedRequest, parse_task
from taskvec_integrations.server.service import Service
from taskvec_integrations.server.settings import ServerSettings

ERROR_RESPONSES: dict[int | str, dict[str, Any]] = {
    status: {"model": Problem} for status in (400, 401, 404, 408, 413, 422, 429, 500, 503)
}
MAX_INLINE_VALUES = 100_000
"""Larger responses are written in another thread, so that other requests continue. Counted in numbers."""
CLOSE_TIMEOUT_SECONDS = 30.0
"""How long the requests that wait may take when the server stops."""


def create_app(encoder: Encoder | str | Path = DEFAULT_MODEL, settings: ServerSettings | None = None) -> FastAPI:
    """Make an ASGI app that serves an encoder, for example `uvicorn.run(create_app("mini"))`.

    The app accepts requests once it has started, which loads the model and runs a text of each usual task.

    Args:
        encoder: An Encoder, which stays the caller's to close, or the name of a model, which is loaded when the app starts.
        settings: Keys, limits and names; by default those in the environment, see `ServerSettings`.

    Returns:
        The app.
    """
    settings = settings or ServerSettings()
    lazy, metrics = LazyEncoder(encoder), Metrics()

    @asynccontextmanager
    async def lifespan(app: FastAPI) -> AsyncIterator[None]:
        service = await run_in_thread(_start, lazy, settings, metrics)
        app.state.service = service
        try:
            yield
        finally:
            app.state.service = None
            await run_in_thread(service.close, CLOSE_TIMEOUT_SECONDS)
            lazy.close()

    app = FastAPI(
        title="taskvec",
        version=version("taskvec"),
        description=DESCRIPTION,
        lifespan=lifespan,
        docs_url=None,
        redoc_url=None,
        exception_handlers=HANDLERS,
    )
    app.state.service = None
    app.state.metrics = metrics
    for prefix, task in {"": None, **{f"/{name}": task for name, task in PREFIXES.items()}}.items():
        app.include_router(_embedding_routes(task), prefix=prefix, include_in_schema=not prefix)
        app.include_router(_inference_routes(task), prefix=prefix, include_in_schema=not prefix)
    app.include_router(_scoring_routes())
    app.include_router(_other_routes())
    app.include_router(page_routes(app.title))
    app.add_middleware(RequestMiddleware, settings=settings, metrics=metrics)
    return app


def _start(encoder: LazyEncoder, settings: ServerSettings, metrics: Metrics) -> Service:
    loaded = encoder.get()
    service = Service(loaded, settings, metrics)
    tasks = dict.fromkeys((QUERY_TASK, DOCUMENT_TASK, parse_task(settings.default_task)))
    service.warm(task for task in tasks if task is None or task in loaded.tasks)
    return service


def _service(request: Request) -> Service:
    """The service; OverloadedError before the model is loaded, and when the server stops."""
    service: Service | None = request.app.state.service
    if service is None or not service.scheduler.alive:
        raise OverloadedError("the model is not loaded yet, or the server is shutting down: try again later", 2, 503)
    return service


async def _respond(
    request: Request, embed_request: EmbedRequest, render: responses.Render, path_task: Task | None = None
) -> Response:
    service = _service(request)
    record = request.state.record
    record.texts = len(embed_request.texts)
    result = await service.embed(embed_request, path_task, request.scope["route"].path)
    record.task, record.tokens = str(result.task or BARE_MODEL), result.tokens

    def write() -> bytes:
        return responses.to_json(render(embed_request, result, service.served_names[0]))

    content = write() if result.vectors.size < MAX_INLINE_VALUES else await run_in_thread(write)
    return Response(content, media_type="application/json")


def _embedding_routes(path_task: Task | None) -> APIRouter:
    router = APIRouter(responses=ERROR_RESPONSES)

    @router.post("/v1/embeddings", response_model=EmbeddingList, tags=["Jina and OpenAI"])
    async def embeddings(request: Request, body: EmbeddingsBody) -> Response:
        """Embed texts, as Jina's API and OpenAI's API do."""
        return await _respond(request, body.to_request(), responses.render_openai, path_task)

    @router.get("/v1/models", tags=["Jina and OpenAI"])
    async def models(request: Request) -> dict[str, Any]:
        """The names that the model is served under."""
        return {"object": "list", "data": [_model(name) for name in _service(request).served_names]}

    @router.get("/v1/models/{name:path}", tags=["Jina and OpenAI"])
    async def model(request: Request, name: str) -> dict[str, Any]:
        """One name that the model is served under."""
        task_of_alias(name, _service(request).served_names)
        return _model(name)

    return router


def _model(name: str) -> dict[str, Any]:
    return {"id": name, "object": "model", "created": 0, "owned_by": "taskvec"}


def _inference_routes(path_task: Task | None) -> APIRouter:
    router = APIRouter(responses=ERROR_RESPONSES)

    @router.post("/", response_model=list[list[float]], tags=["Text Embeddings Inference"])
    async def feature_extraction(request: Request, body: TeiBody) -> Response:
        """Embed texts, as Text Embeddings Inference and Hugging Face's endpoints do."""
        return await _respond(request, body.to_request(), responses.render_tei, path_task)

    @router.post("/embed", response_model=None, tags=["Text Embeddings Inference", "Pinecone"])
    async def embed(request: Request, body: EmbedBody) -> Response:
        """Embed texts, as Text Embeddings Inference does, or as Pinecone does where the body names a model."""
        render = responses.render_pinecone if isinstance(body, PineconeBody) else responses.render_tei
        return await _respond(request, body.to_request(), render, path_task)

    return router


def _scoring_routes() -> APIRouter:
    router = APIRouter(responses=ERROR_RESPONSES)

    @router.post("/invocations", response_model=EmbeddingList, tags=["SageMaker and Azure ML"])
    async def invocations(request: Request, body: InvocationBody) -> Response:
        """Embed texts, as Jina's model on SageMaker does; also takes the body of /v1/embeddings."""
        return await _respond(request, body.to_request(), responses.render_openai)

    @router.post("/score", response_model=EmbeddingList, tags=["SageMaker and Azure ML"])
    async def score(request: Request, body: InvocationBody) -> Response:
        """The same for an Azure ML endpoint."""
        return await _respond(request, body.to_request(), responses.render_openai)

    return router


def _other_routes() -> APIRouter:
    router = APIRouter(tags=["Server"])

    @router.get("/health", responses={503: {"model": Problem}})
    @router.get("/ready", responses={503: {"model": Problem}})
    @router.get("/ping", responses={503: {"model": Problem}})
    async def ready(request: Request) -> Response:
        """200 while the server takes requests, 503 before and after."""
        _service(request)
        return Response(b'{"status":"ok"}', media_type="application/json")

    @router.get("/live")
    async def live() -> dict[str, str]:
        """200 as long as the process runs."""
        return {"status": "ok"}

    @router.get("/info", responses={503: {"model": Problem}})
    async def info(request: Request) -> Response:
        """The model that is served, in the fields of Text Embeddings Inference."""
        return Response(responses.to_json(_info(_service(request))), media_type="application/json")

    @router.get("/models", responses={503: {"model": Problem}})
    async def models(request: Request) -> Response:
        """The model that is served, as Pinecone's inference API lists it."""
        service = _service(request)
        served = [_pinecone_model(service, name) for name in service.served_names]
        return Response(responses.to_json({"models": served}), media_type="application/json")

    @router.get("/models/{name:path}", responses={404: {"model": Problem}, 503: {"model": Problem}})
    async def model(request: Request, name: str) -> Response:
        """One name that the model is served under, as Pinecone's inference API describes it."""
        service = _service(request)
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
