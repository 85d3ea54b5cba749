"""The training text of taskvec-mini: headed sections out of Debian packages, and this folder's own articles.

Everything comes as `Document`: consecutive sections under headings, and a label where the source states one. What the trainer
makes of it is its own business. The packages are fetched by `fetch` with apt-get, which checks their signatures; LICENCES says
what they are and under which licence. Nothing here is used to evaluate the model, and nothing that evaluates it is read here.
"""

import gzip
import json
import re
import shutil
import subprocess
import zlib
from collections import defaultdict
from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass, field
from html.parser import HTMLParser
from pathlib import Path

HERE = Path(__file__).parent

LICENCES = {
    "anarchism": "An Anarchist FAQ: GPL 2+",
    "debian-faq": "free to copy and modify under the same notice",
    "debian-handbook": "The Debian Administrator's Handbook: GPL 2+ or CC BY-SA 3.0",
    "debian-reference-en": "GPL 2+",
    "developers-reference": "GPL 2+",
    "dict-elements": "public domain",
    "dict-foldoc": "Free On-line Dictionary of Computing: GFDL 1.1+",
    "dict-gcide": "GNU Collaborative International Dictionary of English: GPL 2+",
    "dict-jargon": "The Jargon File: public domain",
    "git-doc": "GPL 2",
    "perl-doc": "GPL 1+ or Artistic",
    "postgresql-doc-15": "PostgreSQL licence",
    "wordnet-base": "WordNet 3.0 licence (Princeton)",
}


@dataclass(frozen=True)
class Section:
    """A heading and the text under it; for an article's paragraph also questions that it answers."""

    heading: str
    text: str
    questions: list[str] = field(default_factory=list)


@dataclass(frozen=True)
class Document:
    """Consecutive sections of one source, and the label the source itself gives it ("" for none)."""

    source: str
    sections: list[Section]
    label: str = ""


def fetch(folder: Path) -> None:
    """Download and unpack the packages into `folder` and keep apt's list of English package descriptions there."""
    root = folder / "root"
    if (root / "done").exists():
        return
    root.mkdir(parents=True, exist_ok=True)
    if not all(map(shutil.which, ("apt-get", "dpkg-deb"))):
        raise SystemExit("the training text comes from Debian packages: run this on Debian 12 or in its container (debian:12)")
    lists = ["-o", f"Dir::State::Lists={root}/lists", "-o", "Acquire::Languages=en", "-o", "Acquire::GzipIndexes=false"]
    (root / "lists" / "partial").mkdir(parents=True, exist_ok=True)
    for arguments in (["update"], ["download", *LICENCES]):
        if subprocess.run(["apt-get", *lists, "-qq", *arguments], cwd=root, check=False).returncode:
            raise SystemExit(f"apt-get {arguments[0]} failed: the packages are those of Debian 12, run this there (debian:12)")
    for package in root.glob("*.deb"):
        subprocess.run(["dpkg-deb", "-x", package, root], check=True)
    (root / "done").touch()


def read(folder: Path) -> list[Document]:
    """Every document of the corpus, in a fixed order, duplicates removed."""
    root = folder / "root"
    seen: set[str] = set()
    documents = []
    for source, reader in READERS.items():
        for document in reader(root):
            key = document.sections[0].text[:120] if document.sections else ""
            if key and key not in seen:
                seen.add(key)
                documents.append(Document(source, document.sections, document.label))
    return documents


def split(documents: Iterable[Document]) -> tuple[list[Document], list[Document]]:
    """Training documents, and those held out by a checksum: one in twenty, of articles and sets of labels one in six."""
    train: list[Document] = []
    held: list[Document] = []
    for document in documents:
        share = 6 if document.source in ("articles", "labels") else 20
        key = document.label.partition(":")[0] if document.source == "labels" else document.sections[0].text
        (train if zlib.crc32(key.encode()) % share else held).append(document)
    return train, held


def labelled(documents: Iterable[Document]) -> dict[str, dict[str, list[str]]]:
    """Texts by way to classify and label: each source with labels, each set of `labels`, and questions by their article."""
    ways: dict[str, dict[str, list[str]]] = defaultdict(lambda: defaultdict(list))
    for document in documents:
        if document.source == "articles":
            texts = [question for section in document.sections for question in section.questions]
            ways["articles"][document.sections[0].heading] += texts
        elif document.label:
            way = document.label.partition(":")[0] if document.source == "labels" else document.source
            ways[way][document.label].append(document.sections[0].text)
    return ways


def clean(text: str) -> str:
    """Blanks collapsed, dictionary braces and backslashed pronunciations removed."""
    text = re.sub(r"\\[^\\\n]{1,40}\\", " ", text).replace("{", "").replace("}", "")
    return re.sub(r"\s+", " ", text).strip()


def packages(root: Path) -> Iterator[Document]:
    """Debian package descriptions: the summary heads the long description; the label is the archive's section."""
    kinds = {}
    for path in sorted(root.glob("lists/*_main_binary-amd64_Packages")):
        for block in path.read_text(encoding="utf-8").split("\n\n"):
            name, kind = re.search(r"^Package: (.*)", block), re.search(r"^Section: (.*)", block, re.M)
            if name and kind:
                kinds[name[1]] = kind[1]
    for path in sorted(root.glob("lists/*_main_i18n_Translation-en")):
        for block in path.read_text(encoding="utf-8").split("\n\n"):
            if match := re.search(r"^Package: (.*)\n(?:.*\n)*?Description-en: (.*)\n((?: .*\n?)*)", block):
                name, summary, long = match.groups()
                text = clean(re.sub(r"\n \.\n", "\n", long))
                if len(text) > 80:
                    yield Document("", [Section(f"{name}: {summary}", text[:3000])], kinds.get(name, ""))


# The lexicographer files of WordNet (lexnames(5WN)), whose number stands in each synset.
LEXNAMES = [
    "adj.all",
    "adj.pert",
    "adv.all",
    "noun.Tops",
    "noun.act",
    "noun.animal",
    "noun.artifact",
    "noun.attribute",
    "noun.body",
    "noun.cognition",
    "noun.communication",
    "noun.event",
    "noun.feeling",
    "noun.food",
    "noun.group",
    "noun.location",
    "noun.motive",
    "noun.object",
    "noun.person",
    "noun.phenomenon",
    "noun.plant",
    "noun.possession",
    "noun.process",
    "noun.quantity",
    "noun.relation",
    "noun.shape",
    "noun.state",
    "noun.substance",
    "noun.time",
    "verb.body",
    "verb.change",
    "verb.cognition",
    "verb.communication",
    "verb.competition",
    "verb.consumption",
    "verb.contact",
    "verb.creation",
    "verb.emotion",
    "verb.motion",
    "verb.perception",
    "verb.possession",
    "verb.social",
    "verb.stative",
    "verb.weather",
    "adj.ppl",
]


def wordnet(root: Path) -> Iterator[Document]:
    """Synsets: the words head the gloss, its examples are further sections; the label is the lexicographer file."""
    for part in ("noun", "verb", "adj", "adv"):
        for line in (root / f"usr/share/wordnet/data.{part}").read_text(encoding="latin-1").splitlines():
            if line.startswith("  "):
                continue
            fields, _, gloss = line.partition("|")
            _, lexname, _, count, *rest = fields.split()
            words = ", ".join(word.replace("_", " ").partition("(")[0] for word in rest[: 2 * int(count, 16) : 2])
            definition = gloss.partition('"')[0].strip(" ;")
            examples = [Section(words, example) for example in re.findall(r'"([^"]{20,})"', gloss)]
            label = LEXNAMES[int(lexname)]
            yield Document("", [Section(words, definition), *examples], label if label.startswith(("noun", "verb")) else "")


def dictionary(name: str, shortest: int = 100) -> Callable[[Path], Iterator[Document]]:
    """Entries of a dictd dictionary: the headword heads what follows it."""

    def entries(root: Path) -> Iterator[Document]:
        with gzip.open(root / f"usr/share/dictd/{name}.dict.dz", "rt", encoding="utf-8", errors="replace") as file:
            blocks = re.split(r"\n(?=\S)", file.read())
        for block in blocks[20:]:  # the first describe the dictionary
            head, _, body = block.partition("\n")
            body = re.sub(r"\[(?:1913 Webster|WordNet 1\.5|PJC)[^\]]*\]", "", body)
            domain = re.search(r"\(([A-Z][a-z]+\.)\)", body)
            headword = clean(re.split(r"\\| n\.|,", head)[0])
            if headword and len(text := clean(body)) > shortest:
                yield Document("", [Section(headword, text[:3000])], f"{name} {domain[1]}" if domain else "")

    return entries


def anarchism(root: Path) -> Iterator[Document]:
    """An Anarchist FAQ, in markdown: questions head long answers."""
    for path in sorted(root.glob("usr/share/doc/anarchism/markdown/*.md.gz")):
        if not path.name.startswith(("alinks", "arlinks", "biblio", "new")):
            text = gzip.decompress(path.read_bytes()).decode()
            text = re.sub(r"\[([^\]]*)\]\([^)]*\)|[*_\\>]", r"\1", text)
            yield from headed(re.split(r"^#+ (.*)$", text, flags=re.M))


def pods(root: Path) -> Iterator[Document]:
    """Perl's manual without its change logs, and without its FAQ, which is held out for development."""
    for path in sorted(root.glob("usr/share/perl/*/pod/*.pod")):
        if not re.match(r"perl(faq|.*delta|toc|cn|jp|ko|tw|api|intern|artistic|gpl|uniprops|hist)", path.name):
            yield from headed(pod_parts(path))


def pod_parts(path: Path) -> list[str]:
    """Text before, then heading and text by turns; code (indented) and markup removed."""
    text = path.read_text(encoding="utf-8", errors="replace")
    text = re.sub(r"^[ \t]+.*\n", "", text, flags=re.M)
    text = re.sub(r"[A-Z]<+\s*([^<>]*?)\s*>+", r"\1", text)
    parts = re.split(r"^=head\d (.*)$", text, flags=re.M)
    return [re.sub(r"^=.*$", "", part, flags=re.M) for part in parts]


class HeadedHtml(HTMLParser):
    """Collects heading and text by turns out of a page, without code, tables and navigation."""

    SKIP = frozenset({"pre", "table", "script", "style", "head", "title"})

    def __init__(self) -> None:
        super().__init__()
        self.parts = [""]
        self.skipping = 0

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.skipping += tag in self.SKIP
        if re.fullmatch(r"h[1-6]|dt", tag):
            self.parts.append("")

    def handle_endtag(self, tag: str) -> None:
        self.skipping = max(0, self.skipping - (tag in self.SKIP))
        if re.fullmatch(r"h[1-6]|dt", tag):
            self.parts.append("")
        elif tag in ("p", "li", "div"):
            self.parts[-1] += "\n\n"

    def handle_data(self, data: str) -> None:
        if not self.skipping:
            self.parts[-1] += data


def pages(pattern: str) -> Callable[[Path], Iterator[Document]]:
    """Sections of HTML books."""

    def read_pages(root: Path) -> Iterator[Document]:
        for path in sorted(root.glob(pattern)):
            parser = HeadedHtml()
            parser.feed(path.read_text(encoding="utf-8", errors="replace"))
            yield from headed(parser.parts)

    return read_pages


def headed(parts: list[str]) -> Iterator[Document]:
    """A document of the sections that have prose of some length: `parts` is text before, then heading and text by turns."""
    sections = []
    for heading, text in zip(parts[1::2], parts[2::2], strict=False):
        heading = re.sub(r"^[\w.]*\d+\.?\s+", "", clean(heading)).strip(" ¶#")
        text = re.sub(r"[^\S\n]+", " ", text)
        text = "\n".join(line for line in (clean(line) for line in text.split("\n\n")) if len(line) > 20)
        if heading and len(text) > 100:
            sections.append(Section(heading, text))
    if sections:
        yield Document("", sections)


def articles(root: Path) -> Iterator[Document]:
    """Short encyclopedia articles written for this project (CC0), with questions for each paragraph."""
    for path in sorted((HERE / "articles").glob("*.json")):
        for article in json.loads(path.read_text(encoding="utf-8")):
            paragraphs = article["paragraphs"]
            yield Document("", [Section(article["title"], part["text"], part["questions"]) for part in paragraphs])


def labels(root: Path) -> Iterator[Document]:
    """Short texts under labels, written for this project (CC0); each set is one way to classify."""
    for path in sorted((HERE / "labels").glob("*.json")):
        for label, texts in json.loads(path.read_text(encoding="utf-8")).items():
            for text in texts:
                yield Document("", [Section("", text)], f"{path.stem}: {label}")


def held_out(folder: Path) -> list[Document]:
    """Perl's FAQ: questions and their answers, for development only."""
    paths = sorted((folder / "root").glob("usr/share/perl/*/pod/perlfaq[1-9].pod"))
    return [document for path in paths for document in headed(pod_parts(path))]


READERS: dict[str, Callable[[Path], Iterable[Document]]] = {
    "articles": articles,
    "labels": labels,
    "packages": packages,
    "wordnet": wordnet,
    "gcide": dictionary("gcide"),
    "foldoc": dictionary("foldoc"),
    "jargon": dictionary("jargon"),
    "elements": dictionary("elements"),
    "anarchism": anarchism,
    "perl": pods,
    "handbook": pages("usr/share/doc/debian-handbook/html/en-US/*.html"),
    "debian-faq": pages("usr/share/doc/debian/FAQ/*.en.html"),
    "reference": pages("usr/share/debian-reference/*.en.html"),
    "developers": pages("usr/share/developers-reference/*.html"),
    "postgresql": pages("usr/share/doc/postgresql-doc-15/html/*.html"),
    "git": pages("usr/share/doc/git*/**/*.html"),
}
