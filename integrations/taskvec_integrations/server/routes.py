"""The routes that embed texts. Each takes the body of a dialect and renders the vectors as that dialect has them."""

from typing import Any

from fastapi import APIRouter, Request, Response

from taskvec import Task
from taskvec.integration import run_in_thread
from taskvec_integrations.server import responses
from taskvec_integrations.server.bodies import EmbedBody, EmbeddingsBody, InvocationBody, PineconeBody, TeiBody
from taskvec_integrations.server.documentation import EmbeddingList, Problem
from taskvec_integrations.server.model_names import task_of_alias
from taskvec_integrations.server.request import BARE_MODEL, EmbedRequest
from taskvec_integrations.server.status import ready_service

ERROR_RESPONSES: dict[int | str, dict[str, Any]] = {
    status: {"model": Problem} for status in (400, 401, 404, 408, 413, 422, 429, 500, 503)
}
MAX_INLINE_VALUES = 100_000
"""Larger responses are written in another thread, so that other requests continue. Counted in numbers."""


async def _respond(
    request: Request, embed_request: EmbedRequest, render: responses.Render, path_task: Task | None = None
) -> Response:
    service = ready_service(request)
    record = request.state.record
    record.texts = len(embed_request.texts)
    result = await service.embed(embed_request, path_task, request.scope["route"].path)
    record.task, record.tokens = str(result.task or BARE_MODEL), result.tokens

    def write() -> bytes:
        return responses.to_json(render(embed_request, result, service.served_names[0]))

    content = write() if result.vectors.size < MAX_INLINE_VALUES else await run_in_thread(write)
    return Response(content, media_type="application/json")


def embedding_routes(path_task: Task | None) -> APIRouter:
    """The routes of Jina's API and OpenAI's, below a path that stands for a task or for none."""
    router = APIRouter(responses=ERROR_RESPONSES)

    @router.post("/v1/embeddings", response_model=EmbeddingList, tags=["Jina and OpenAI"])
    async def embeddings(request: Request, body: EmbeddingsBody) -> Response:
        """Embed texts, as Jina's API and OpenAI's API do."""
        return await _respond(request, body.to_request(), responses.render_openai, path_task)

    @router.get("/v1/models", tags=["Jina and OpenAI"])
    async def models(request: Request) -> dict[str, Any]:
        """The names that the model is served under."""
        return {"object": "list", "data": [_model(name) for name in ready_service(request).served_names]}

    @router.get("/v1/models/{name:path}", tags=["Jina and OpenAI"])
    async def model(request: Request, name: str) -> dict[str, Any]:
        """One name that the model is served under."""
        task_of_alias(name, ready_service(request).served_names)
        return _model(name)

    return router


def _model(name: str) -> dict[str, Any]:
    return {"id": name, "object": "model", "created": 0, "owned_by": "taskvec"}


def inference_routes(path_task: Task | None) -> APIRouter:
    """The routes of Text Embeddings Inference and Pinecone, below a path that stands for a task or for none."""
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


def scoring_routes() -> APIRouter:
    """The routes of SageMaker and Azure ML."""
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
