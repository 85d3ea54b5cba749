"""Whether a collection is the one a store's settings belong to; made where there is none, never changed where it differs."""

from collections.abc import Mapping
from dataclasses import asdict

from taskvec_integrations.ingestion.backend import Backend, Found
from taskvec_integrations.ingestion.points import Record

# The fields of a record that must agree, with the name of the setting for each. Vectors with and without late chunking can be
# compared, so only writing checks late_chunking.
SETTINGS_FOR_READING = {"fingerprint": "model", "dimensions": "dimensions", "document_task": "document_task", "metric": "metric"}
SETTINGS_FOR_WRITING = SETTINGS_FOR_READING | {"late_chunking": "late_chunking"}


def open_for_writing(backend: Backend, record: Record) -> None:
    """Make the collection, or check that it has the settings of `record`; an empty one that its user made is adopted.

    An empty collection is how users bring their own index and quantization settings, and nothing in it can disagree. One with
    points and no record is refused: nobody knows which model made them, and a mixture would only ever show as bad results.

    Raises:
        ValueError: The collection has other settings, or points without a record.
    """
    found = backend.find()
    if found is None:
        try:
            backend.create(record)
        except Exception as error:
            found = backend.find() if backend.retry_after(error) is None else None
            if found is None:  # otherwise another process made it in the meantime
                raise
    if found is not None:
        check(backend, found, record, SETTINGS_FOR_WRITING)
        if found.record is None:
            if not found.empty:
                raise ValueError(
                    f"collection {backend.name!r} has points and no record of the model that made them, so taskvec does not add "
                    "to it: use another collection (an empty one of your own is fine)"
                )
            backend.adopt(record)


def open_for_reading(backend: Backend, record: Record) -> None:
    """Check that the collection is there and has the settings of `record`.

    Raises:
        LookupError: There is no such collection.
        ValueError: The collection has other settings, or no record.
    """
    found = backend.find()
    if found is None:
        raise LookupError(f"there is no collection {backend.name!r}: ingest into it first")
    check(backend, found, record, SETTINGS_FOR_READING)
    if found.record is None:
        raise ValueError(
            f"collection {backend.name!r} has no record of its model: a taskvec store did not fill it, use one that it filled"
        )


def check(backend: Backend, found: Found, record: Record, names: Mapping[str, str]) -> None:
    """Compare the fields `names` of a collection with `record`.

    Raises:
        ValueError: Some differ; the message has both sides of each.
    """
    wanted = asdict(record)
    present = wanted | (asdict(found.record) if found.record else {}) | {"dimensions": found.dimensions, "metric": found.metric}
    if different := [name for name in names if wanted[name] != present[name]]:
        sides = [", ".join(f"{names[name]} {side[name]}" for name in different) for side in (present, wanted)]
        raise ValueError(
            f"collection {backend.name!r} has {sides[0]}; this store has {sides[1]}: use the settings of the collection, "
            "or another collection for these"
        )
