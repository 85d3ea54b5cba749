"""The command line: app.py says how each command is called, one module each says what it does. Imported by nothing else."""

from taskvec_integrations.cli.app import main

__all__ = ["main"]
