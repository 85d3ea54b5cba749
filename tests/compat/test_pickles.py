"""Pickles of an earlier version: they name modules and attributes of that version, load to the same objects and work.

The fixtures were made by make_fixtures.py, of one object of each public kind that can be pickled.
"""

import io
import json
import os
import pickle
import subprocess
import sys
from collections.abc import Iterator
from importlib import import_module
from pathlib import Path
from typing import Any

import pytest

from compat.alike import assert_alike
from compat.texts import MODEL
from compat.uses import USES
from taskvec import shared_encoder

FIXTURES = Path(__file__).parent / "fixtures"
EXPECTED: dict[str, Any] = json.loads((FIXTURES / "expected.json").read_text())


@pytest.fixture(scope="module", autouse=True)
def loaded() -> Iterator[None]:
    """The model behind all of them, held so that it is loaded once."""
    with shared_encoder("mini", **MODEL):
        yield


def test_every_pickle_is_used() -> None:
    assert {path.stem for path in (FIXTURES / "pickles").iterdir()} == USES.keys() == EXPECTED["pickles"].keys()


@pytest.mark.parametrize("name", USES)
def test_object_works_as_before(name: str) -> None:
    thing = pickle.loads((FIXTURES / "pickles" / f"{name}.pickle").read_bytes())
    used = json.loads(json.dumps(USES[name](thing)))
    assert_alike(used, EXPECTED["pickles"][name])


@pytest.mark.parametrize("name", USES)
def test_object_can_be_pickled_again(name: str) -> None:
    thing = pickle.loads((FIXTURES / "pickles" / f"{name}.pickle").read_bytes())
    again = pickle.loads(pickle.dumps(thing))
    assert_alike(json.loads(json.dumps(USES[name](again))), EXPECTED["pickles"][name])


def test_objects_load_where_nothing_of_taskvec_is_imported() -> None:
    code = "import pickle, sys; [pickle.load(open(path, 'rb')) for path in sys.argv[1:]]"
    here = os.environ | {"PYTHONPATH": os.pathsep.join(sys.path)}
    paths = sorted((FIXTURES / "pickles").iterdir())
    done = subprocess.run([sys.executable, "-c", code, *paths], env=here, capture_output=True, text=True)
    assert not done.returncode, done.stderr


@pytest.mark.parametrize("path", EXPECTED["references"])
def test_class_or_function_is_found(path: str) -> None:
    """A class in a pickle, as in a partial or a task of Ray, is its old module and name."""
    module, _, name = path.partition(":")
    found = pickle.Unpickler(io.BytesIO()).find_class(*EXPECTED["references"][path])
    assert found is getattr(import_module(module), name)
