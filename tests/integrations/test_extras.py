"""An adapter without its vendor's package names the command that installs it."""

import subprocess
import sys

import pytest

from support.paths import ROOT

ADAPTERS = {
    "haystack_integrations.components.embedders.taskvec": ("haystack", "haystack"),
    "taskvec_integrations.llama_index": ("llama_index.core", "llama-index"),
    "taskvec_integrations.milvus": ("pymilvus", "milvus"),
    "taskvec_integrations.pinecone": ("pinecone", "pinecone"),
    "taskvec_integrations.qdrant": ("qdrant_client", "qdrant"),
    "taskvec_integrations.ray": ("ray", "ray"),
}


@pytest.mark.parametrize("adapter", ADAPTERS)
def test_a_missing_package_is_an_error_that_says_what_to_install(adapter: str) -> None:
    package, extra = ADAPTERS[adapter]
    code = f"import sys; sys.modules[{package.partition('.')[0]!r}] = None; import {adapter}"
    env = {"PYTHONPATH": f"{ROOT / 'core'}:{ROOT / 'integrations'}"}
    done = subprocess.run([sys.executable, "-c", code], env=env, capture_output=True, text=True, check=False)
    assert done.returncode == 1
    assert done.stderr.endswith(f"MissingExtraError: {package} is not installed: pip install 'taskvec[{extra}]'\n")
