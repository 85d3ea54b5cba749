"""Components of the bundled model in float32, and Haystack's sentence splitter without a download."""

from collections.abc import Callable, Iterator
from typing import Any

import nltk  # type: ignore[import-untyped]
import pytest
from haystack.components.preprocessors import sentence_tokenizer

from haystack_integrations.components.embedders.taskvec import TaskvecDocumentEmbedder, TaskvecTextEmbedder

Make = Callable[..., Any]


@pytest.fixture(autouse=True)
def sentences_offline(monkeypatch: pytest.MonkeyPatch) -> None:
    """Punkt without the data that it downloads: it knows no abbreviations."""

    def load(language: str, keep_white_spaces: bool = False) -> Any:
        tokenizer = nltk.tokenize.punkt.PunktSentenceTokenizer()
        if keep_white_spaces:
            tokenizer._lang_vars = sentence_tokenizer.CustomPunktLanguageVars()
        return tokenizer

    monkeypatch.setattr(sentence_tokenizer, "load_sentence_tokenizer", load)


@pytest.fixture
def make() -> Iterator[Make]:
    """Makes embedders and closes them after the test."""
    made: list[Any] = []

    def make(kind: str, model: str = "mini", **parameters: Any) -> Any:
        component = {"text": TaskvecTextEmbedder, "documents": TaskvecDocumentEmbedder}[kind]
        quiet = {"progress_bar": False} if kind == "documents" else {}
        made.append(component(model, **{"dtype": "float32", "device": "cpu", **quiet, **parameters}))
        return made[-1]

    yield make
    for component in made:
        component.close()
