"""Closing and sharing: one encoder for equal settings, freed by its last holder."""

import gc
import inspect
import threading
import weakref
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import pytest

from support import inside
from taskvec import Encoder, Task, shared_encoder
from taskvec.loading import EncoderParts, LoadSettings

HANG_SECONDS = 60


def test_close_frees_the_weights(native: Path) -> None:
    encoder = Encoder.from_pretrained(native, dtype="float32")
    encoder.encode("a")
    weight = weakref.ref(inside.weight(inside.bodies(encoder).get(Task.TEXT_MATCHING).layers[0].fc1))
    encoder.close()
    encoder.close()
    gc.collect()
    assert weight() is None
    calls: list[Callable[[], object]] = [
        lambda: encoder.encode("a"),
        lambda: encoder.encode_chunks([["a"]]),
        lambda: list(encoder.encode_iter(["a"])),
    ]
    for call in calls:
        with pytest.raises(RuntimeError, match="is closed: load it again"):
            call()
    assert encoder.count_tokens("a")
    with Encoder.from_pretrained(native, dtype="float32") as other:
        other.encode("a")
    with pytest.raises(RuntimeError, match="is closed"):
        other.encode("a")


def test_a_closed_encoder_finishes_what_it_began(short_folder: Path) -> None:
    encoder = Encoder.from_pretrained(short_folder, dtype="float32")
    vectors = encoder.encode_iter(["a"] * 10)
    next(vectors)
    encoder.close()
    assert sum(1 for _ in vectors) == 9


def test_shared_encoders_are_one_per_settings_and_counted(native: Path) -> None:
    first = shared_encoder(native, dtype="float32")
    second = shared_encoder(native, dtype="float32")
    other = shared_encoder(native, dtype="float32", max_bodies=1)
    assert shared_encoder(str(native), dtype="float32") is first
    first.close()
    assert first is second
    assert first is not other
    first.close()
    assert second.encode("a").shape == (64,)
    second.close()
    with pytest.raises(RuntimeError, match="is closed"):
        second.encode("a")
    again = shared_encoder(native, dtype="float32")
    assert again is not first
    assert again.encode("a").shape == (64,)


def test_shared_encoder_takes_what_from_pretrained_takes() -> None:
    assert inspect.signature(shared_encoder) == inspect.signature(Encoder.from_pretrained)
    with pytest.raises(TypeError, match="unexpected keyword argument 'devise'"):
        shared_encoder("x", devise="cpu")  # type: ignore[call-arg]


def test_loading_one_model_does_not_hold_up_another(native: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    ready = shared_encoder(native, dtype="float32", max_bodies=4)
    started, released = threading.Event(), threading.Event()

    def load(settings: LoadSettings) -> EncoderParts:
        started.set()
        released.wait(HANG_SECONDS)
        raise OSError("slow and then gone")

    def fail_to_load() -> None:
        with pytest.raises(OSError, match="slow and then gone"):
            shared_encoder("other/model")

    monkeypatch.setattr("taskvec.encoder.load", load)
    thread = threading.Thread(target=fail_to_load)
    thread.start()
    assert started.wait(HANG_SECONDS)
    assert shared_encoder(native, dtype="float32", max_bodies=4) is ready
    released.set()
    thread.join()


def test_threads_that_share_load_once(native: Path) -> None:
    with ThreadPoolExecutor(8) as executor:
        encoders = list(executor.map(lambda _: shared_encoder(native, dtype="float32", max_bodies=3), range(8)))
    assert len({id(encoder) for encoder in encoders}) == 1
    for encoder in encoders[1:]:
        encoder.close()
    assert encoders[0].encode("a").shape == (64,)
