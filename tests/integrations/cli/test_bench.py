"""`taskvec bench`: what it measures, with which adapter, and that its figures are those of the calls it makes."""

import json
import re
import shutil
from pathlib import Path
from typing import Any

import pytest

from support.command_line import Taskvec
from taskvec import Encoder, Task
from taskvec_integrations.cli import bench


def test_json_of_every_workload(taskvec: Taskvec, monkeypatch: pytest.MonkeyPatch) -> None:
    whole = bench.workloads
    monkeypatch.setattr(bench, "workloads", lambda context: whole(512))  # shorter
    done = taskvec("bench", "--model", "mini", "--seconds", 0, "--json")
    assert done.code == 0, done.err
    rows = [json.loads(line) for line in done.out.splitlines()]
    assert [row["texts"] for row in rows] == [1, 256, 48, 4, 40]
    for row in rows:
        assert row["calls"] == 1
        assert row["tokens_per_second"] == pytest.approx(row["tokens"] / row["p50_ms"] * 1e3)
        assert row["texts_per_second"] == pytest.approx(row["texts"] / row["p50_ms"] * 1e3)


def test_the_table_says_how_long_a_million_passages_take(taskvec: Taskvec, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(
        bench, "workloads", lambda context: [bench.Workload("other", [8]), bench.Workload(bench.PASSAGES, [8, 8])]
    )
    done = taskvec("bench", "--model", "mini", "--seconds", 0)
    (row,) = (line.split("│") for line in done.out.splitlines() if line.startswith("│ passages"))
    rate = float(row[5].replace(",", ""))
    said = re.search(r"a million passages of 128 tokens take ([\d,.]+) hours", done.out)
    assert said
    assert float(said[1].replace(",", "")) == pytest.approx(128e6 / rate / 3600, rel=0.01, abs=0.06)
    assert "mini on cpu" in done.err


@pytest.mark.parametrize(
    ("arguments", "code", "said"),
    [
        (["--model", "./nowhere"], 1, "there is no model folder ./nowhere"),
        (["--seconds", "-1"], 2, "--seconds"),
        (["--dtype", "int3"], 1, "dtype 'int3' is not supported"),
    ],
)
def test_errors(taskvec: Taskvec, arguments: list[str], code: int, said: str) -> None:
    done = taskvec("bench", *arguments)
    assert (done.code, done.out) == (code, "")
    assert said in done.err


def test_lengths_are_about_what_was_asked_for(mini: Encoder) -> None:
    """Within the context, so that nothing is cut."""
    for workload in bench.workloads(mini.max_tokens):
        tokens = mini.count_tokens(bench.texts_of(mini, workload.lengths, bench.words()))
        wanted = sum(workload.lengths)
        assert wanted / 2 < sum(tokens) < wanted * 1.5
        assert (sum(tokens) if workload.late_chunking else max(tokens)) < mini.max_tokens


def test_queries_and_passages_have_their_adapters(mini: Encoder, monkeypatch: pytest.MonkeyPatch) -> None:
    asked: list[tuple[Any, bool]] = []
    encode = Encoder.encode

    def spy(self: Encoder, texts: Any, **options: Any) -> Any:
        asked.append((options["task"], options.get("late_chunking", False)))
        return encode(self, texts, **options)

    monkeypatch.setattr(Encoder, "encode", spy)
    query, _, passages, _, late = bench.workloads(256)
    for workload in (query, passages, late):
        bench.measure(mini, workload, ["some words"] * 2, 0)
    query_task, passage_task = Task.RETRIEVAL_QUERY, Task.RETRIEVAL_PASSAGE
    assert asked == [*[(query_task, False)] * 2, *[(passage_task, False)] * 2, (passage_task, False), (passage_task, True)]


def test_a_model_without_the_adapter_is_measured_bare(native: Path, tmp_path: Path) -> None:
    folder = shutil.copytree(native, tmp_path / "some")
    shutil.rmtree(folder / Task.RETRIEVAL_PASSAGE.adapter)
    with Encoder.from_pretrained(folder, device="cpu") as encoder:
        assert bench.measure(encoder, bench.Workload("x", [4]), ["a b"], 0).tokens > 0
