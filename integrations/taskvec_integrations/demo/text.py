"""The demo's text: Python's language reference as every Python carries it, in chunks; and questions with known answers."""

import re
from collections.abc import Iterator
from dataclasses import dataclass
from itertools import pairwise
from pydoc_data.topics import topics

MAX_CHUNK_CHARACTERS = 800
"""A few paragraphs, about 250 tokens. A longer paragraph or table stays whole."""
# A line underlined with * or = opens a section, which is one document; one underlined with - or ~ opens a part of it.
SECTION = re.compile(r"^(\S.*)\n([*=])\2{2,}$\n?", re.MULTILINE)
HEADING = re.compile(r"^(\S.*)\n([*=~^-])\2{2,}$\n?", re.MULTILINE)


@dataclass(frozen=True)
class ReferenceChunk:
    """A few paragraphs, and the nearest heading above them."""

    heading: str
    text: str


QUESTIONS = {
    "How are backslashes treated in raw strings?": "treat backslashes as literal characters",
    "How do I decide what happens when an attribute is missing?": "Called when the default attribute access fails",
    "Are dictionaries ordered?": "preserve insertion order",
    "When is the else clause of a loop not executed?": "terminates the loop without executing the",
    "How do I make my class work with len()?": 'Called to implement the built-in function "len()"',
    "How can a context manager suppress an exception?": "wishes to suppress the exception",
    "When are the default values of parameters evaluated?": "Default parameter values are evaluated from left to right",
    "Which objects are false in an if?": "Here are most of the built-in objects considered false",
    "What is the difference between == and is?": "test for an object's identity",
    "Can I write a < b < c?": "Comparisons can be chained arbitrarily",
    "How do I raise the current exception again?": "re-raises the exception that is currently being handled",
    "How does an inner function change a variable of the outer?": "nearest enclosing scope|previously bound in nonlocal scopes",
    "How do I pad a number in a string with leading zeros?": "left filled with ASCII",
    "Which case matches everything?": "wildcard pattern always succeeds",
    "Does del free the object at once?": "doesn't directly call",
    "How can instances use less memory?": "space saved",
    "Which operators bind the tightest?": "most binding",
    "How do I stop at a line in the debugger?": "set a break",
    "What happens to a finally clause when there is a return in the try?": "determined by the last",
    "How do I split a text at line ends?": "Return a list of the lines in the string, breaking at line boundaries",
    "How is a module found when I import it?": "sys.meta_path",
    "Can I use a list as a dictionary key?": "not *hashable*",
}
"""Questions, each with words that only the chunks with its answer have; "|" stands between the words of Python's versions."""


def answers(chunk: ReferenceChunk, question: str) -> bool:
    """Whether the chunk holds the known answer to one of the questions."""
    text = " ".join(chunk.text.replace("’", "'").split())
    return any(words in text for words in QUESTIONS[question].split("|"))


def read_sections() -> list[list[ReferenceChunk]]:
    """The sections of the reference as lists of chunks; a section that several pages repeat comes once."""
    seen: set[str] = set()
    sections = []
    for _, page in sorted(topics.items(), key=lambda item: (-len(item[1]), item[0])):
        for section in cut_at(SECTION, page):
            chunks = [chunk for part in cut_at(HEADING, section) for chunk in split_part(part)]
            texts = {chunk.text for chunk in chunks}
            if texts and not texts & seen:
                seen |= texts
                sections.append(chunks)
    return sections


def cut_at(pattern: re.Pattern[str], text: str) -> list[str]:
    """Cut a text into pieces that each begin with a match; what stands before the first match is left out."""
    starts = [match.start() for match in pattern.finditer(text)]
    return [text[start:stop] for start, stop in pairwise([*starts, len(text)])]


def split_part(part: str) -> Iterator[ReferenceChunk]:
    """Split a heading and the text under it into chunks of whole paragraphs; the heading opens the first chunk."""
    heading = part.partition("\n")[0].replace("*", "").replace('"', "")
    paragraphs = [paragraph for paragraph in re.split(r"\n\s*\n", HEADING.sub("", part).strip("\n")) if paragraph]
    text = heading
    for number, paragraph in enumerate(paragraphs):
        if number and len(text) + len(paragraph) > MAX_CHUNK_CHARACTERS:
            yield ReferenceChunk(heading, text)
            text = paragraph
        else:
            text += f"\n\n{paragraph}"
    if paragraphs:
        yield ReferenceChunk(heading, text)
