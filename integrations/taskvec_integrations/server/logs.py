"""One line a request on stderr, as text or as JSON, without texts, keys or vectors."""

import logging
import sys
from datetime import UTC, datetime
from typing import Literal

import orjson


class _Text(logging.Formatter):
    def format(self, record: logging.LogRecord) -> str:
        facts = getattr(record, "facts", {})
        said = " ".join(f"{name}={value}" for name, value in facts.items() if value not in ("", 0))
        return f"{super().format(record)} {said}".rstrip()


class _JSON(logging.Formatter):
    def format(self, record: logging.LogRecord) -> str:
        time = datetime.fromtimestamp(record.created, UTC).isoformat(timespec="milliseconds")
        line = {"time": time, "level": record.levelname, "logger": record.name, "message": record.getMessage()}
        if record.exc_info:
            line["error"] = self.formatException(record.exc_info)
        return orjson.dumps({**line, **getattr(record, "facts", {})}).decode()


FORMATTERS: dict[str, logging.Formatter] = {
    "text": _Text("%(asctime)s %(levelname)s %(message)s"),
    "json": _JSON(),
}
LogFormat = Literal["text", "json"]


def set_up(form: LogFormat, level: str) -> None:
    """Send what taskvec and uvicorn say to stderr."""
    handler = logging.StreamHandler(sys.stderr)
    handler.setFormatter(FORMATTERS[form])
    for name in ("taskvec", "uvicorn"):
        logger = logging.getLogger(name)
        logger.handlers[:] = [handler]
        logger.setLevel(level.upper())
        logger.propagate = False
