"""The pages for people: / to compare texts, /docs for the API. They load nothing from another host.

The policy of a page says what it may load: its own inline parts, by their hashes, and files of this server. Knows no model and no
dialect.
"""

import re
from base64 import b64encode
from collections.abc import Awaitable, Callable
from hashlib import sha256
from importlib.resources import files
from pathlib import Path

import fastapi_offline
from fastapi import APIRouter
from fastapi.openapi.docs import get_swagger_ui_html
from fastapi.responses import FileResponse, HTMLResponse

ASSETS_FOLDER = Path(fastapi_offline.__file__).with_name("static")
"""Swagger UI's own files. FastAPI alone would have browsers load them from a content delivery network."""
ASSET_NAMES = ("swagger-ui-bundle.js", "swagger-ui.css")
PAGE_PATHS = {"/", "/docs", "/openapi.json", *(f"/docs/{name}" for name in ASSET_NAMES)}
"""Paths that hold no data and need no key."""
INLINE_ELEMENT = re.compile(r"<(script|style)>(.*?)</\1>", re.DOTALL)


def content_security_policy(page: str, *, assets: bool = False) -> str:
    """The Content-Security-Policy of a page: its own inline scripts and styles, requests to this server, nothing else.

    Args:
        page: The HTML.
        assets: Whether the page may also load script and style files of this server.
    """
    allowed: dict[str, list[str]] = {name: ["'self'"] if assets else [] for name in ("script", "style")}
    for name, content in INLINE_ELEMENT.findall(page):
        allowed[name].append(f"'sha256-{b64encode(sha256(content.encode()).digest()).decode()}'")
    sources = [f"{name}-src {' '.join(found)}" for name, found in allowed.items() if found]
    forbidden = ("default-src", "base-uri", "form-action", "frame-ancestors")
    return "; ".join([*(f"{name} 'none'" for name in forbidden), *sources, "connect-src 'self'", "img-src data:"])


def page_routes(title: str) -> APIRouter:
    """The routes of the pages; `title` is the title of /docs."""
    router = APIRouter()
    compare = files("taskvec_integrations.server").joinpath("page.html").read_text(encoding="utf-8")
    docs = _documentation(title)
    compare_headers = _headers(content_security_policy(compare))
    docs_headers = _headers(content_security_policy(docs, assets=True))

    @router.get("/", response_class=HTMLResponse, tags=["Server"])
    async def page() -> HTMLResponse:
        """A page that compares texts, for people."""
        return HTMLResponse(compare, headers=compare_headers)

    @router.get("/docs", include_in_schema=False)
    async def documentation() -> HTMLResponse:
        return HTMLResponse(docs, headers=docs_headers)

    for name in ASSET_NAMES:
        router.add_api_route(f"/docs/{name}", _file(ASSETS_FOLDER / name), include_in_schema=False)
    return router


def _documentation(title: str) -> str:
    """Swagger UI. Its addresses are relative, so that it works behind the prefix of a proxy. It calls no validator elsewhere."""
    page = get_swagger_ui_html(
        openapi_url="openapi.json",
        title=f"{title}: API",
        swagger_js_url=f"docs/{ASSET_NAMES[0]}",
        swagger_css_url=f"docs/{ASSET_NAMES[1]}",
        swagger_favicon_url="data:,",
        swagger_ui_parameters={"validatorUrl": None},
    )
    return bytes(page.body).decode()


def _file(path: Path) -> Callable[[], Awaitable[FileResponse]]:
    async def send() -> FileResponse:
        return FileResponse(path)

    return send


def _headers(policy: str) -> dict[str, str]:
    return {
        "Content-Security-Policy": policy,
        "Referrer-Policy": "no-referrer",
        "X-Content-Type-Options": "nosniff",
        "Cache-Control": "no-cache",
    }
