"""The request with which jina-embeddings-v3 was announced, sent with curl to a served checkpoint of the real width."""

import json
import shutil
import subprocess
from pathlib import Path

import numpy as np
import pytest

from support.checkpoints import Shape, random_weights, write_native
from support.server.app import serving
from taskvec import Encoder

TEXTS = [
    "Organic skincare for sensitive skin with aloe vera and chamomile: soothe, protect and care for it every day.",
    "Bio-Hautpflege für empfindliche Haut mit Aloe Vera und Kamille: beruhigt, schützt und pflegt jeden Tag.",
    "Cuidado orgánico para la piel sensible con aloe vera y manzanilla: calma, protege y cuida cada día.",
    "适合敏感肌肤的有机护肤品，含芦荟和洋甘菊：每天舒缓、保护和呵护肌肤。",
    "敏感肌のためのオーガニックスキンケア、アロエベラとカモミール配合：毎日やさしく守ります。",
]


@pytest.mark.skipif(not shutil.which("curl"), reason="there is no curl")
def test_five_languages_late_chunked_at_1024_dimensions(tmp_path: Path) -> None:
    folder = write_native(tmp_path / "model", random_weights(Shape(width=1024, layers=2, heads=16, inner=4096)))
    body = {"model": "jina-embeddings-v3", "task": "text-matching", "dimensions": 1024, "late_chunking": True, "input": TEXTS}
    with Encoder.from_pretrained(folder, dtype="float32") as encoder, serving(encoder) as url:
        command = ["curl", "-sS", f"{url}/v1/embeddings", "-H", "Content-Type: application/json"]
        command += ["-H", "Authorization: Bearer jina_xxx", "-d", json.dumps(body)]
        answer = json.loads(subprocess.run(command, capture_output=True, check=True).stdout)
        expected = encoder.encode(TEXTS, task="text-matching", late_chunking=True)
        apart = encoder.encode(TEXTS, task="text-matching")
        passages = encoder.encode(TEXTS, task="retrieval.passage", late_chunking=True)
    got = np.array([row["embedding"] for row in answer["data"]], dtype=np.float32)
    assert got.shape == (5, 1024)
    np.testing.assert_allclose(got, expected, atol=2e-6)
    for other in (apart, passages):  # what it would be without late chunking, or with another adapter
        assert (np.sum(got * other, axis=1) < 0.999).all()
