"""Records how the command line is called: arguments, options, their values, defaults and environment variables."""

from collections.abc import Callable
from enum import Enum
from types import NoneType
from typing import Any, Literal, get_args, get_origin, get_type_hints
from unittest.mock import patch

import typer


def record_commands() -> dict[str, Any]:
    """By command its arguments in order and its options, those of the command line itself under ""."""
    app = find_app()
    group: Any = typer.main.get_command(app)
    strings = [string for parameter in group.params for string in parameter.opts if "completion" not in string]
    commands = {"": {"arguments": [], "options": {string: {"value": "flag"} for string in strings}}}
    for info in app.registered_commands:
        callback: Any = info.callback
        name = info.name or callback.__name__
        commands[name] = describe_command(group.commands[name], callback)
    return commands


def find_app() -> typer.Typer:
    """What `main` calls, wherever it is defined."""
    from taskvec_integrations.cli import main

    called: list[typer.Typer] = []
    with patch.object(typer.Typer, "__call__", lambda app: called.append(app)):
        main()
    return called[0]


def describe_command(command: Any, callback: Callable[..., Any]) -> dict[str, Any]:
    """The parameters of a command; values are read from the annotations of the function behind it."""
    hints = get_type_hints(callback)
    arguments: list[dict[str, Any]] = []
    options: dict[str, dict[str, Any]] = {}
    for parameter in command.params:
        entry = describe_parameter(parameter, hints[parameter.name])
        if parameter.param_type_name == "argument":
            arguments.append(entry)
        else:
            options |= dict.fromkeys([*parameter.opts, *parameter.secondary_opts], entry)
    return {"arguments": arguments, "options": options}


def describe_parameter(parameter: Any, hint: Any) -> dict[str, Any]:
    kind, repeats = plain_type(hint)
    choices = list(get_args(kind)) if get_origin(kind) is Literal else []
    if isinstance(kind, type) and issubclass(kind, Enum):
        choices = [member.value for member in kind]
    default = parameter.default.value if isinstance(parameter.default, Enum) else parameter.default
    return {
        "value": choices or ("flag" if kind is bool else kind.__name__),
        "repeats": repeats,
        "required": bool(parameter.required),
        "default": repr(default),
        "environment": parameter.envvar,
    }


def plain_type(hint: Any) -> tuple[Any, bool]:
    """A type without `| None` and `list[]`, and whether there was a list."""
    options = [option for option in get_args(hint) if option is not NoneType] if NoneType in get_args(hint) else [hint]
    kind = options[0]
    return (get_args(kind)[0], True) if get_origin(kind) is list else (kind, False)
