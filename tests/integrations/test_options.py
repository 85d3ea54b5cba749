import pickle

import pytest

from taskvec import Encoder, Task, shared_encoder
from taskvec_integrations.lazy_encoder import LazyEncoder
from taskvec_integrations.task_choice import EmbedSettings, choose_task


def test_auto_is_the_task_of_the_operation_and_everything_else_is_kept() -> None:
    settings = EmbedSettings()
    assert settings.task("document") is Task.RETRIEVAL_PASSAGE
    assert settings.task("query") is Task.RETRIEVAL_QUERY
    other = EmbedSettings(document_task="separation", query_task=None)
    assert other.task("document") is Task.SEPARATION
    assert other.task("query") is None
    assert choose_task("auto", Task.TEXT_MATCHING) is Task.TEXT_MATCHING


def test_unknown_task_fails_when_the_settings_are_made() -> None:
    with pytest.raises(ValueError, match=r"unknown task 'passage': use one of retrieval\.query"):
        EmbedSettings(document_task="passage")


@pytest.mark.parametrize("late_chunking", ["yes", 1, None], ids=repr)
def test_late_chunking_is_yes_or_no(late_chunking: object) -> None:
    with pytest.raises(TypeError, match=rf"late_chunking is {late_chunking!r}: True or False was expected"):
        EmbedSettings(late_chunking=late_chunking)  # type: ignore[arg-type]


def test_a_name_is_loaded_once_on_first_use_and_let_go_by_close() -> None:
    lazy = LazyEncoder("mini")
    encoder = lazy.get()
    assert encoder is lazy.get()
    with shared_encoder("mini") as shared:
        assert shared is encoder
    lazy.close()
    with pytest.raises(RuntimeError, match="closed"):
        encoder.encode("a")
    assert lazy.get().encode("a").shape == (384,)
    lazy.close()


def test_an_encoder_that_was_passed_in_is_left_open_and_pickles_carry_no_weights() -> None:
    with Encoder.from_pretrained("mini") as encoder:
        lazy = LazyEncoder(encoder)
        lazy.close()
        assert encoder.encode("a").shape == (384,)
    named = LazyEncoder("mini")
    named.get()
    pickled = pickle.dumps(named)
    named.close()
    assert len(pickled) < 1000
    again = pickle.loads(pickled)
    assert again == named
    assert again.get().encode("a").shape == (384,)
    again.close()


def test_what_is_no_encoder_is_refused() -> None:
    with pytest.raises(TypeError, match="encoder is 3: an Encoder or the name of a model"):
        LazyEncoder(3)  # type: ignore[arg-type]


def test_other_arguments_reach_the_model_and_the_token_no_pickle() -> None:
    lazy = LazyEncoder("mini", {"dtype": "bfloat16", "device": "cpu", "token": "hf_secret"})
    assert "hf_secret" not in repr(lazy)
    assert str(lazy.get().dtype) == "torch.bfloat16"
    assert b"hf_secret" not in pickle.dumps(lazy)
    again = pickle.loads(pickle.dumps(lazy))
    assert again.arguments == {"dtype": "bfloat16", "device": "cpu"}
    assert again.get() is lazy.get()
    again.close()
    lazy.close()
