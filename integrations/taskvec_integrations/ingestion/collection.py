"""Whether a collection is the one a store's settings belong to; made where there is none, never changed where it differs."""

from collections.abc import Mapping
from dataclasses import asdict

from taskvec_integrations.ingestion.backend import Backend, Found, Record

# What must agree, as users call it. Vectors with and without late chunking can be compared, so only writing minds the difference.
NAMES = {"fingerprint": "model", "dimensions": "dimensions", "document_task": "document_task", "metric": "metric"}
NAMES_WRITING = NAMES | {"late_chunking": "late_chunking"}


def open_for_writing(backend: Backend, record: Record) -> None:
    """Make the collection, or check that it is `record`'s; one that a user made is taken where it is empty and fits.

    An empty collection is how users bring their own index and quantization settings, and nothing in it can disagree. One with
    points and no record is refused: nobody knows which model made them, and a mixture would only ever show as bad results.
    """
    found = backend.find()
    if found is None:
        try:
            backend.create(record)
        except Exception as error:
            found = backend.find() if backend.retry_after(error) is None else None
            if found is None:  # else another process made it in the meantime
                raise
    if found is not None:
        check(backend, found, record, NAMES_WRITING)
        if found.record is None:
            if not found.empty:
                raise ValueError(
                    f"collection {backend.name!r} has points and no record of the model that made them, so taskvec does not add "
                    "to it: use another collection (an empty one of your own is fine)"
                )
            backend.adopt(record)


def open_for_reading(backend: Backend, record: Record) -> None:
    """Check that the collection is there and `record`'s."""
    found = backend.find()
    if found is None:
        raise LookupError(f"there is no collection {backend.name!r}: ingest into it first")
    check(backend, found, record, NAMES)
    if found.record is None:
        raise ValueError(f"collection {backend.name!r} has no record of its model: it was not filled by a taskvec store")


def check(backend: Backend, found: Found, record: Record, names: Mapping[str, str]) -> None:
    """ValueError that names both sides of everything that differs."""
    here = asdict(record)
    there = {**here, **(asdict(found.record) if found.record else {})} | {"dimensions": found.dimensions, "metric": found.metric}
    if different := [name for name in names if here[name] != there[name]]:
        sides = [", ".join(f"{names[name]} {side[name]}" for name in different) for side in (there, here)]
        raise ValueError(
            f"collection {backend.name!r} has {sides[0]}; this store has {sides[1]}: use the settings of the collection, "
            "or another collection for these"
        )
