"""Settings of the server, from arguments or from environment variables that begin with TASKVEC_."""

import hashlib
import hmac
from ipaddress import ip_address
from pathlib import Path
from typing import Annotated, Any, Self

from pydantic import Field, SecretStr, field_validator, model_validator
from pydantic_settings import BaseSettings, NoDecode, SettingsConfigDict

from taskvec.integration import JINA_MODELS
from taskvec_integrations import serve_options as options
from taskvec_integrations.server.request import parse_task

BYTES_PER_MIB = 2**20


def _field(option: options.ServeOption, **bounds: Any) -> Any:
    return Field(default=option.default, description=option.help, **bounds)


class ServerSettings(BaseSettings):
    """Settings of `create_app`.

    Each can be an argument, or an environment variable that has TASKVEC_ in front and its name in capitals, as in
    TASKVEC_MAX_INPUTS. In the environment, commas separate the values of a list. The description of a field says what it means,
    as `taskvec serve --help` does.

    Attributes:
        served_model_names: Names that clients call the model by. Empty means its own name and those of jina-embeddings-v3.
        api_keys: Keys that clients may use. The server is open to everyone when there is no key at all.
        api_key_file: File with more keys, one a line. It is read once, into `api_keys`.
        max_waiting_tokens: Tokens that may wait in the queue. 0 means 64 full batches, at least 262144 tokens.
        patience: Seconds that a request waits for room in the queue before it is refused with 429. The default is less than the
            5 s after which httpx, and so Haystack, gives up.
        recognise_instructions: The earlier spelling of `recognize_instructions`, accepted for one release.

    Raises:
        ValueError: A value is out of its bounds, an unknown task, an empty key, or a file without a key.
    """

    model_config = SettingsConfigDict(env_prefix="TASKVEC_", env_ignore_empty=True, extra="forbid", hide_input_in_errors=True)

    served_model_names: Annotated[tuple[str, ...], NoDecode] = _field(options.SERVED_MODEL_NAMES)
    default_task: str = _field(options.DEFAULT_TASK)
    api_keys: Annotated[tuple[SecretStr, ...], NoDecode] = Field(default=(), repr=False, description="Keys that clients may use.")
    api_key_file: Path | None = _field(options.API_KEY_FILE)
    recognize_instructions: bool = _field(options.RECOGNIZE_INSTRUCTIONS)
    recognise_instructions: bool = Field(default=False, repr=False, exclude=True)
    max_inputs: int = _field(options.MAX_INPUTS, ge=1)
    max_body_mib: float = _field(options.MAX_BODY_MIB, gt=0)
    max_bodies_mib: float = _field(options.MAX_BODIES_MIB, gt=0)
    max_requests: int = _field(options.MAX_REQUESTS, ge=1)
    max_waiting_tokens: int = _field(options.MAX_WAITING_TOKENS, ge=0)
    patience: float = _field(options.PATIENCE, ge=0)
    body_seconds: float = _field(options.BODY_SECONDS, gt=0)
    send_seconds: float = _field(options.SEND_SECONDS, gt=0)

    @field_validator("served_model_names", "api_keys", mode="before")
    @classmethod
    def _split(cls, value: object) -> object:
        if not isinstance(value, str):
            return value
        parts = tuple(part.strip() for part in value.split(",") if part.strip())
        if not parts:
            raise ValueError("it is set but has no value: remove it, or separate values with commas")
        return parts

    @field_validator("default_task")
    @classmethod
    def _check_task(cls, value: str) -> str:
        parse_task(value)
        return value

    @model_validator(mode="after")
    def _join_spellings(self) -> Self:
        if "recognize_instructions" not in self.model_fields_set:
            self.recognize_instructions = self.recognise_instructions
        self.recognise_instructions = self.recognize_instructions
        return self

    @model_validator(mode="after")
    def _read_keys(self) -> Self:
        if self.api_key_file is not None:
            lines = map(str.strip, self.api_key_file.read_text(encoding="utf-8-sig").splitlines())
            keys = tuple(SecretStr(line) for line in lines if line and not line.startswith("#"))
            if not keys:
                raise ValueError(f"{self.api_key_file} contains no key: write one key per line")
            self.api_keys = (*self.api_keys, *keys)
            self.api_key_file = None
        if any(not key.get_secret_value().strip() for key in self.api_keys):
            raise ValueError("one of the keys is empty, which would open the server to everyone: remove it")
        return self

    def names(self, model_id: str) -> tuple[str, ...]:
        """The names that clients may call a model by."""
        return self.served_model_names or tuple(dict.fromkeys((model_id, *JINA_MODELS)))

    def opens(self, key: str) -> bool:
        """Whether a key is one of the server's keys; takes the same time for every wrong key."""
        digest = hashlib.sha256(key.encode()).digest()
        matches = [
            hmac.compare_digest(digest, hashlib.sha256(known.get_secret_value().encode()).digest()) for known in self.api_keys
        ]
        return any(matches)


def check_host(host: str, settings: ServerSettings, insecure: bool) -> None:
    """Refuse to listen on an address that other machines can reach when there is no key.

    Args:
        host: Name or address to listen on.
        settings: Whether they hold a key is what counts.
        insecure: Allow it all the same.

    Raises:
        ValueError: The server would be open to other machines.
    """
    if settings.api_keys or insecure or _is_loopback(host):
        return
    raise ValueError(
        f"host {host} can be reached from other machines and no key is set: set TASKVEC_API_KEYS or --api-key-file, "
        "use --host 127.0.0.1, or pass --insecure on a network that you trust"
    )


def _is_loopback(host: str) -> bool:
    try:
        return host == "localhost" or ip_address(host).is_loopback
    except ValueError:
        return False
