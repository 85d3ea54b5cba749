"""Records what clients of the server and dashboards hold: routes with the fields of their bodies, names of metrics."""

from contextlib import suppress
from typing import Any

from fastapi.testclient import TestClient

from taskvec_integrations.server import create_app

Entry = dict[str, Any]


def record_server() -> dict[str, Any]:
    """The routes of the server with the fields of their bodies, and the names of its metrics."""
    app = create_app("mini")
    schema = app.openapi()
    routes = {
        f"{method.upper()} {path}": {"kind": "route", "fields": sorted(body_fields(schema, operation))}
        for path, operations in schema["paths"].items()
        for method, operation in operations.items()
    }
    with TestClient(app) as client:
        lines = client.get("/metrics").text.splitlines()
    return {"routes": routes, "metrics": sorted(line.split()[2] for line in lines if line.startswith("# TYPE taskvec_"))}


def body_fields(schema: Entry, operation: Entry) -> set[str]:
    """The names of all fields that a JSON body may have."""
    with suppress(KeyError):
        body = operation["requestBody"]["content"]["application/json"]["schema"]
        choices = [body, *body.get("anyOf", []), *body.get("oneOf", [])]
        models = [schema["components"]["schemas"][choice["$ref"].rpartition("/")[2]] for choice in choices if "$ref" in choice]
        return {name for model in models for name in model.get("properties", {})}
    return set()
