"""``taskvec serve``: its options. Light to import; the server is imported when the command runs.

What an option means and its default stand in serve_options.py, where it is also a setting of the server.
"""

from enum import StrEnum
from pathlib import Path
from typing import Annotated, Any

import typer

from taskvec import DEFAULT_MODEL
from taskvec_integrations import serve_options as options


class LogFormat(StrEnum):
    """How the log is written."""

    TEXT = "text"
    JSON = "json"


MODEL = "The model"
LIMITS = "Limits"
SECURITY = "Security"


def _setting(option: options.ServeOption, panel: str, *names: str) -> Any:
    """An option that is None by default: the setting then comes from the environment, or is its default."""
    return typer.Option(*names, help=option.help, show_default=option.shown_default, rich_help_panel=panel)


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
            help="Tokens of a batch; small batches answer queries sooner.",
            show_default="512 on a CPU, 16384 on a GPU",
            envvar="TASKVEC_MAX_BATCH_TOKENS",
            min=1,
            rich_help_panel=MODEL,
        ),
    ] = None,
    served_model_name: Annotated[list[str] | None, _setting(options.SERVED_MODEL_NAMES, MODEL)] = None,
    default_task: Annotated[str | None, _setting(options.DEFAULT_TASK, MODEL)] = None,
    recognize_instructions: Annotated[
        bool | None, _setting(options.RECOGNIZE_INSTRUCTIONS, MODEL, "--recognize-instructions")
    ] = None,
    recognise_instructions: Annotated[
        bool | None, typer.Option("--recognise-instructions", help="The earlier spelling.", hidden=True)
    ] = None,
    host: Annotated[
        str, typer.Option(help="Address to listen on; 0.0.0.0 lets other machines in and needs a key.", envvar="TASKVEC_HOST")
    ] = "127.0.0.1",
    port: Annotated[
        int, typer.Option(help="Port to listen on; 0 takes a free one.", envvar="TASKVEC_PORT", min=0, max=65535)
    ] = 8080,
    api_key_file: Annotated[Path | None, _setting(options.API_KEY_FILE, SECURITY)] = None,
    insecure: Annotated[
        bool,
        typer.Option(
            "--insecure", help="Let other machines in without a key.", envvar="TASKVEC_INSECURE", rich_help_panel=SECURITY
        ),
    ] = False,
    ssl_certfile: Annotated[
        Path | None, typer.Option(help="Serve HTTPS with this certificate.", rich_help_panel=SECURITY)
    ] = None,
    ssl_keyfile: Annotated[
        Path | None, typer.Option(help="The private key of the certificate.", rich_help_panel=SECURITY)
    ] = None,
    max_inputs: Annotated[int | None, _setting(options.MAX_INPUTS, LIMITS)] = None,
    max_body_mib: Annotated[float | None, _setting(options.MAX_BODY_MIB, LIMITS)] = None,
    max_requests: Annotated[int | None, _setting(options.MAX_REQUESTS, LIMITS)] = None,
    max_waiting_tokens: Annotated[int | None, _setting(options.MAX_WAITING_TOKENS, LIMITS)] = None,
    patience: Annotated[float | None, _setting(options.PATIENCE, LIMITS)] = None,
    stop_seconds: Annotated[int, typer.Option(min=0, help="When the server stops, open requests may take so many seconds.")] = 30,
    log_format: Annotated[
        LogFormat, typer.Option(help="Format of the log, which has one line a request and no texts.", envvar="TASKVEC_LOG_FORMAT")
    ] = LogFormat.TEXT,
    log_level: Annotated[str, typer.Option(help="debug, info, warning or error.")] = "info",
) -> None:
    """Serve the model over HTTP to clients of Jina, OpenAI, Text Embeddings Inference, Pinecone, SageMaker and Dify.

    Point their base URL at http://HOST:PORT/v1 (or what the client expects; /docs lists all routes). Open http://HOST:PORT in a
    browser to try it. Most options can also be set in the environment, for example TASKVEC_MODEL for --model and TASKVEC_API_KEYS
    for keys.
    """
    from taskvec_integrations.server import command

    settings = command.read_settings(
        served_model_names=served_model_name or None,
        default_task=default_task,
        recognize_instructions=recognize_instructions or recognise_instructions,
        api_key_file=api_key_file,
        max_inputs=max_inputs,
        max_body_mib=max_body_mib,
        max_requests=max_requests,
        max_waiting_tokens=max_waiting_tokens,
        patience=patience,
    )
    command.run(
        command.bind(host, port, settings, insecure),
        command.ModelOptions(model, device or None, dtype, max_batch_tokens),
        settings,
        command.ProcessOptions(stop_seconds, log_format.value, log_level, ssl_certfile, ssl_keyfile),
    )
