"""Defaults that stores and the command line share. Light to import, so that the command line's help can show them."""

CHUNK_TOKENS = 512
"""Texts without chunks of their own are split at this many tokens."""

MIN_CHUNK_TOKENS = 8
"""The shortest limit for a chunk: `<s>`, `</s>` and a few words."""

RETRY_SECONDS = 300.0
"""How long a call that may succeed later is tried again."""
