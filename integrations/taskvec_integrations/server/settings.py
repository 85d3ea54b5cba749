"""What a server is told, by arguments, or by environment variables that begin with TASKVEC_."""

import hashlib
import hmac
from ipaddress import ip_address
from pathlib import Path
from typing import Annotated, Self

from pydantic import Field, SecretStr, field_validator, model_validator
from pydantic_settings import BaseSettings, NoDecode, SettingsConfigDict

from taskvec.integration import JINA_MODELS
from taskvec_integrations.server.request import parse_task

MIB = 2**20


class ServerSettings(BaseSettings):
    """Settings of `create_app`; each is also read from TASKVEC_ and its name in capitals (lists: separated by commas).

    served_model_names: what clients may call the model; empty means its own name and those of jina-embeddings-v3.
    default_task: of requests that name none. api_keys, api_key_file (one key a line): any of them opens the server; none at all
    leaves it open. recognise_instructions: texts that all begin with a task's exact instruction have that task, and lose it.
    max_inputs: texts of a request. max_body_mib, max_bodies_mib: size of a body, and of all bodies held at a time.
    max_requests: held at a time. max_waiting_tokens: of the queue, beyond which requests wait `patience` seconds for room and are
    then refused with 429. body_seconds: within which a body must have come; send_seconds: within which a client must read on.
    """

    model_config = SettingsConfigDict(env_prefix="TASKVEC_", env_ignore_empty=True, extra="forbid", hide_input_in_errors=True)

    served_model_names: Annotated[tuple[str, ...], NoDecode] = ()
    default_task: str = "text-matching"
    api_keys: Annotated[tuple[SecretStr, ...], NoDecode] = Field(default=(), repr=False)
    api_key_file: Path | None = None
    recognise_instructions: bool = False
    max_inputs: int = Field(default=2048, ge=1)
    max_body_mib: float = Field(default=16, gt=0)
    max_bodies_mib: float = Field(default=256, gt=0)
    max_requests: int = Field(default=512, ge=1)
    max_waiting_tokens: int = Field(default=0, ge=0, description="0: 64 full batches, 262144 at least")
    patience: float = Field(default=4.0, ge=0, description="less than the 5 s after which httpx, and so Haystack, gives up")
    body_seconds: float = Field(default=30.0, gt=0)
    send_seconds: float = Field(default=30.0, gt=0)

    @field_validator("served_model_names", "api_keys", mode="before")
    @classmethod
    def _split(cls, value: object) -> object:
        if not isinstance(value, str):
            return value
        parts = tuple(part.strip() for part in value.split(",") if part.strip())
        if not parts:
            raise ValueError("it is set and holds nothing: take it out, or separate values by commas")
        return parts

    @field_validator("default_task")
    @classmethod
    def _known(cls, value: str) -> str:
        parse_task(value)
        return value

    @model_validator(mode="after")
    def _read_keys(self) -> Self:
        if self.api_key_file is not None:
            lines = map(str.strip, self.api_key_file.read_text(encoding="utf-8-sig").splitlines())
            keys = tuple(SecretStr(line) for line in lines if line and not line.startswith("#"))
            if not keys:
                raise ValueError(f"{self.api_key_file} holds no key: write one on each line")
            self.api_keys = (*self.api_keys, *keys)
            self.api_key_file = None
        if any(not key.get_secret_value().strip() for key in self.api_keys):
            raise ValueError("one of the keys is empty, and would open the server to everybody: take it out")
        return self

    def names(self, model_id: str) -> tuple[str, ...]:
        """What clients may call a model."""
        return self.served_model_names or tuple(dict.fromkeys((model_id, *JINA_MODELS)))

    def opens(self, key: str) -> bool:
        """Whether a key is one of those that open the server; takes the same time for every wrong one."""
        given = hashlib.sha256(key.encode()).digest()
        matches = [
            hmac.compare_digest(given, hashlib.sha256(known.get_secret_value().encode()).digest()) for known in self.api_keys
        ]
        return any(matches)


def check_host(host: str, settings: ServerSettings, insecure: bool) -> None:
    """Refuse to listen where others can reach it without a key, unless told to; ValueError that says what to do."""
    if settings.api_keys or insecure or _is_loopback(host):
        return
    raise ValueError(
        f"host {host} can be reached by others and there is no key: set TASKVEC_API_KEYS or --api-key-file, bind to 127.0.0.1, "
        "or pass --insecure where the network is yours"
    )


def _is_loopback(host: str) -> bool:
    try:
        return host == "localhost" or ip_address(host).is_loopback
    except ValueError:
        return False
