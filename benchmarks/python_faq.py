"""Python's own FAQ as a retrieval set (a BEIR folder for benchmarks/quality.py): each question should find its answer.

apt-get download python3.11-doc && dpkg-deb -x python3.11-doc*.deb doc
python benchmarks/python_faq.py doc/usr/share/doc/python3.11/html/faq faq
"""

import html
import json
import re
from pathlib import Path
from typing import Annotated

import typer


def plain(markup: str) -> str:
    """The text of a piece of HTML, on one line."""
    return re.sub(r"\s+", " ", html.unescape(re.sub(r"<[^>]+>", "", markup))).strip(" ¶")


def main(
    pages: Annotated[Path, typer.Argument(exists=True, file_okay=False, help="html/faq of Python's documentation")],
    folder: Annotated[Path, typer.Argument(help="written there: corpus.jsonl, queries.jsonl, qrels/test.tsv")],
) -> None:
    """Write the questions and answers of every page of the FAQ."""
    (folder / "qrels").mkdir(parents=True, exist_ok=True)
    queries: list[dict[str, str]] = []
    answers: list[dict[str, str]] = []
    grades = ["query-id\tcorpus-id\tscore"]
    for page in sorted(pages.glob("*.html")):
        parts = re.split(r"<h[2-4]>(.*?)</h[2-4]>", page.read_text(encoding="utf-8"), flags=re.DOTALL)
        for question, answer in zip(map(plain, parts[1::2]), map(plain, parts[2::2]), strict=True):
            number = str(len(queries))
            if question.endswith("?") and len(answer) > 80:
                queries.append({"_id": number, "text": question})
                answers.append({"_id": number, "title": "", "text": answer})
                grades.append(f"{number}\t{number}\t1")
    for name, rows in (("queries", queries), ("corpus", answers)):
        (folder / f"{name}.jsonl").write_text("".join(json.dumps(row) + "\n" for row in rows), encoding="utf-8")
    (folder / "qrels" / "test.tsv").write_text("\n".join(grades) + "\n", encoding="utf-8")
    print(f"{len(queries)} questions in {folder}")


if __name__ == "__main__":
    typer.run(main)
