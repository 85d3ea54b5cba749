"""The app: the routes of every dialect around one service."""

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from importlib.metadata import version
from pathlib import Path

from fastapi import FastAPI

from taskvec import Encoder
from taskvec.integration import DEFAULT_MODEL, DOCUMENT_TASK, QUERY_TASK, run_in_thread
from taskvec_integrations.lazy_encoder import LazyEncoder
from taskvec_integrations.server.documentation import DESCRIPTION
from taskvec_integrations.server.errors import HANDLERS
from taskvec_integrations.server.metrics import Metrics
from taskvec_integrations.server.middleware import RequestMiddleware
from taskvec_integrations.server.model_names import PREFIXES
from taskvec_integrations.server.pages import page_routes
from taskvec_integrations.server.request import parse_task
from taskvec_integrations.server.routes import embedding_routes, inference_routes, scoring_routes
from taskvec_integrations.server.service import Service
from taskvec_integrations.server.settings import ServerSettings
from taskvec_integrations.server.status import status_routes

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
        app.include_router(embedding_routes(task), prefix=prefix, include_in_schema=not prefix)
        app.include_router(inference_routes(task), prefix=prefix, include_in_schema=not prefix)
    app.include_router(scoring_routes())
    app.include_router(status_routes())
    app.include_router(page_routes(app.title))
    app.add_middleware(RequestMiddleware, settings=settings, metrics=metrics)
    return app


def _start(encoder: LazyEncoder, settings: ServerSettings, metrics: Metrics) -> Service:
    loaded = encoder.get()
    service = Service(loaded, settings, metrics)
    tasks = dict.fromkeys((QUERY_TASK, DOCUMENT_TASK, parse_task(settings.default_task)))
    service.warm(task for task in tasks if task is None or task in loaded.tasks)
    return service
