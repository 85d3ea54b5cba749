"""``taskvec serve``: its options, and a server that stops as it should. Light to import; the server comes when it runs."""

from enum import StrEnum
from pathlib import Path
from typing import Annotated

import typer

from taskvec import DEFAULT_MODEL


class LogFormat(StrEnum):
    """How the log is written."""

    TEXT = "text"
    JSON = "json"


MODEL = "The model"
LIMITS = "Limits"
SECURITY = "Security"


def serve(
    model: Annotated[
        str, typer.Option(help="A hub id, a folder, or mini.", envvar="TASKVEC_MODEL", rich_help_panel=MODEL)
    ] = DEFAULT_MODEL,
    device: Annotated[
        list[str] | None,
        typer.Option(help="cuda, cuda:1, mps or cpu; repeat it for several.", envvar="TASKVEC_DEVICE", rich_help_panel=MODEL),
    ] = None,
    dtype: Annotated[
        str | None, typer.Option(help="float32, bfloat16, float16 or int8.", envvar="TASKVEC_DTYPE", rich_help_panel=MODEL)
    ] = None,
    max_batch_tokens: Annotated[
        int | None,
        typer.Option(
            help="Tokens of a batch (512 on a CPU, 16384 on a GPU): fewer answer sooner.",
            envvar="TASKVEC_MAX_BATCH_TOKENS",
            min=1,
            rich_help_panel=MODEL,
        ),
    ] = None,
    served_model_name: Annotated[
        list[str] | None,
        typer.Option(help="What clients call the model; by default its name and jina-embeddings-v3.", rich_help_panel=MODEL),
    ] = None,
    default_task: Annotated[
        str | None, typer.Option(help="Of requests without a task; none is the bare model.", rich_help_panel=MODEL)
    ] = None,
    recognise_instructions: Annotated[
        bool | None,
        typer.Option(
            "--recognise-instructions", help="Texts that begin with a task's instruction have that task.", rich_help_panel=MODEL
        ),
    ] = None,
    host: Annotated[str, typer.Option(help="0.0.0.0 lets others in, and needs a key.", envvar="TASKVEC_HOST")] = "127.0.0.1",
    port: Annotated[int, typer.Option(help="0 takes a free one.", envvar="TASKVEC_PORT", min=0, max=65535)] = 8080,
    api_key_file: Annotated[
        Path | None,
        typer.Option(help="Keys that open the server, one a line; or set TASKVEC_API_KEYS.", rich_help_panel=SECURITY),
    ] = None,
    insecure: Annotated[
        bool,
        typer.Option("--insecure", help="Listen to others without a key.", envvar="TASKVEC_INSECURE", rich_help_panel=SECURITY),
    ] = False,
    ssl_certfile: Annotated[Path | None, typer.Option(help="Serve HTTPS with this.", rich_help_panel=SECURITY)] = None,
    ssl_keyfile: Annotated[Path | None, typer.Option(help="Its private key.", rich_help_panel=SECURITY)] = None,
    max_inputs: Annotated[int | None, typer.Option(help="Texts of a request (2048).", rich_help_panel=LIMITS)] = None,
    max_body_mib: Annotated[float | None, typer.Option(help="Size of a request (16).", rich_help_panel=LIMITS)] = None,
    max_requests: Annotated[int | None, typer.Option(help="Held at a time (512).", rich_help_panel=LIMITS)] = None,
    max_waiting_tokens: Annotated[
        int | None, typer.Option(help="Of the queue (64 full batches, 262144 at least).", rich_help_panel=LIMITS)
    ] = None,
    patience: Annotated[
        float | None, typer.Option(help="Seconds that a request waits for room there before 429 (4).", rich_help_panel=LIMITS)
    ] = None,
    stop_seconds: Annotated[int, typer.Option(min=0, help="What is being served may take this long when the server stops.")] = 30,
    log_format: Annotated[
        LogFormat, typer.Option(help="One line a request, without its texts.", envvar="TASKVEC_LOG_FORMAT")
    ] = LogFormat.TEXT,
    log_level: Annotated[str, typer.Option(help="debug, info, warning or error.")] = "info",
) -> None:
    """Serve the model over HTTP to clients of Jina, OpenAI, Text Embeddings Inference, Pinecone, SageMaker and Dify.

    Point their base URL at http://HOST:PORT/v1 (or what the client expects; /docs lists all routes). Open http://HOST:PORT in a
    browser to try it. Most options are also read from the environment: TASKVEC_MODEL for --model, TASKVEC_API_KEYS for keys.
    """
    from taskvec_integrations.server import command

    settings = command.settings(
        served_model_names=tuple(served_model_name) if served_model_name else None,
        default_task=default_task,
        recognise_instructions=recognise_instructions,
        api_key_file=api_key_file,
        max_inputs=max_inputs,
        max_body_mib=max_body_mib,
        max_requests=max_requests,
        max_waiting_tokens=max_waiting_tokens,
        patience=patience,
    )
    bound = command.bind(host, port, settings, insecure)
    command.run(
        bound,
        command.Model(model, device or None, dtype, max_batch_tokens),
        settings,
        command.Running(stop_seconds, log_format.value, log_level, ssl_certfile, ssl_keyfile),
    )
