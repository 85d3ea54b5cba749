"""Keys: which ones open the server, and what is open without one."""

from collections.abc import Iterator

import httpx
import pytest

from support.server.app import serving
from support.server.waiting import GUARD_SECONDS
from taskvec import Encoder

BODY = {"model": "mini", "input": ["Bread rises."], "dimensions": 8}


@pytest.fixture(scope="module")
def url(mini: Encoder, tmp_path_factory: pytest.TempPathFactory) -> Iterator[str]:
    keys = tmp_path_factory.mktemp("keys") / "keys"
    keys.write_text("# of the team\nsecond-key\n\n  third-key  \n")
    with serving(mini, api_keys="first-key", api_key_file=keys) as url:
        yield url


@pytest.mark.parametrize("key", ["first-key", "second-key", "third-key"])
@pytest.mark.parametrize("header", ["Authorization", "authorization", "Api-Key"])
def test_any_key_opens(url: str, key: str, header: str) -> None:
    value = f"Bearer {key}" if header.lower() == "authorization" else key
    assert httpx.post(f"{url}/v1/embeddings", json=BODY, headers={header: value}, timeout=GUARD_SECONDS).status_code == 200


@pytest.mark.parametrize(
    "headers",
    [{}, {"Authorization": "Bearer wrong"}, {"Authorization": "first-key"}, {"Api-Key": "# of the team"}, {"Api-Key": ""}],
)
@pytest.mark.parametrize(
    "path", ["/v1/embeddings", "/query/v1/embeddings", "/embed", "/", "/invocations", "/score", "/nothing", "/health"]
)
def test_nothing_is_embedded_without_a_key(url: str, path: str, headers: dict[str, str]) -> None:
    response = httpx.post(f"{url}{path}", json=BODY, headers=headers, timeout=GUARD_SECONDS)
    assert response.status_code == 401
    assert response.headers["www-authenticate"] == "Bearer"
    assert "send Authorization: Bearer KEY" in response.json()["error"]["message"]


@pytest.mark.parametrize("path", ["/health", "/live", "/ready", "/ping", "/", "/docs", "/openapi.json"])
def test_health_and_pages_are_open(url: str, path: str) -> None:
    assert httpx.get(f"{url}{path}", timeout=GUARD_SECONDS).status_code == 200


@pytest.mark.parametrize("path", ["/metrics", "/info", "/v1/models", "/models"])
def test_what_tells_of_the_server_needs_a_key(url: str, path: str) -> None:
    assert httpx.get(f"{url}{path}", timeout=GUARD_SECONDS).status_code == 401
