"""The page at / and the documentation at /docs, in a real browser on a real server: what is shown is what the library says."""

import shlex
import shutil
import subprocess
from collections.abc import Iterator
from typing import TYPE_CHECKING, Any

import httpx
import numpy as np
import orjson
import pytest

from support.browser import browsing, visiting
from support.server.app import serving
from taskvec import Encoder

if TYPE_CHECKING:
    from playwright.sync_api import Browser, Page

TEXTS = [
    "Berlin is the capital and largest city of Germany.",
    "It has 3.9 million inhabitants.",
    "The city lies in the north-east of the country, on the river Spree.",
    "Munich is the capital of Bavaria.",
    "The city has 1.5 million inhabitants.",
]
QUESTIONS = ["Which river flows through Berlin?", "What is the capital of Bavaria?", "How many people live in Munich?"]
ROUNDED = 0.0051
"""How far a number with two digits may be from the one it stands for."""
TABLE = """() => [...document.querySelectorAll('#map tbody tr')].map(
    (row) => [...row.cells].slice(1).map((cell) => cell.firstChild.data))"""
"""The first number of each cell, as it is written."""
MARKED = """(mark) => [...document.querySelectorAll('#map tbody tr')].flatMap((row, r) =>
    [...row.cells].slice(1).flatMap((cell, c) => (cell.textContent.includes(mark) ? [[c, r]] : []))).sort()"""
"""Column and row of each cell with a mark."""
CONTRAST = """() => {
  const linear = (part) => (part <= 0.04045 ? part / 12.92 : ((part + 0.055) / 1.055) ** 2.4);
  const light = (color) => {
    const scale = color.startsWith('color(') ? 1 : 255;
    const [r, g, b] = color.match(/[\\d.]+/g).map((part) => linear(part / scale));
    return 0.2126 * r + 0.7152 * g + 0.0722 * b;
  };
  const ratio = (cell) => {
    const {color, backgroundColor} = getComputedStyle(cell);
    const pair = [light(color), light(backgroundColor)];
    return (Math.max(...pair) + 0.05) / (Math.min(...pair) + 0.05);
  };
  return Math.min(...[...document.querySelectorAll('#map td:not(.self), button[type=submit]')].map(ratio));
}"""
"""The least contrast of a cell's number with its background; WCAG asks for 4.5."""
HOLD_ANSWERS = """() => {
  const fetch = window.fetch;
  const released = new Promise((release) => { window.release = release; });
  window.holding = true;
  window.late = [];
  window.fetch = (...options) => {
    const answer = fetch(...options);
    if (!window.holding) return answer;
    window.late.push(answer.then(() => released).then(() => answer));
    return window.late.at(-1);
  };
}"""
"""Hold the answers of the server back while window.holding is true."""
RELEASE_ANSWERS = """async () => {
  window.release();
  await Promise.allSettled(window.late);
  await new Promise((done) => setTimeout(done, 300));  // what the page would do with them
}"""
"""Hand the answers out that were held back."""


@pytest.fixture(scope="module")
def browser() -> Iterator["Browser"]:
    with browsing() as browser:
        yield browser


@pytest.fixture
def page(browser: "Browser", url: str) -> Iterator["Page"]:
    with visiting(browser, url) as page:
        visit(page, url)
        yield page


def visit(page: "Page", url: str) -> None:
    page.goto(url)
    settle(page)


def settle(page: "Page") -> None:
    """Wait for the comparison that an action started."""
    page.locator("[aria-busy]").wait_for(state="detached")


def in_view(page: "Page") -> None:
    """The result is where a person sees it."""
    from playwright.sync_api import expect

    expect(page.locator("#title")).to_be_in_viewport()


def choose(page: "Page", *names: str) -> None:
    for name in names:
        page.get_by_role("radio", name=name, exact=True).check()
        settle(page)


def write(page: "Page", texts: list[str] = TEXTS, questions: list[str] | None = QUESTIONS) -> None:
    """Type texts and questions, and compare by keyboard."""
    page.get_by_label("Texts, one a line").fill("\n".join(texts))
    if questions is not None:
        page.get_by_label("Questions, one a line").fill("\n".join(questions))
    page.keyboard.press("Control+Enter")
    settle(page)


def number(text: str) -> float:
    return float(text.replace("−", "-"))


def numbers(page: "Page") -> np.ndarray:
    return np.array([[np.nan if text == "—" else number(text) for text in row] for row in page.evaluate(TABLE)])


def cosines(mini: Encoder, late: bool, dimensions: int | None = None) -> np.ndarray:
    """Of each text (rows) with each question."""
    texts = mini.encode(TEXTS, task="retrieval.passage", late_chunking=late, dimensions=dimensions)
    return texts @ mini.encode(QUESTIONS, task="retrieval.query", dimensions=dimensions).T


@pytest.mark.parametrize("late", ["off", "on"])
def test_texts_against_questions_are_the_librarys_cosines(page: "Page", mini: Encoder, late: str) -> None:
    choose(page, late)
    write(page)
    expected = cosines(mini, late == "on")
    np.testing.assert_allclose(numbers(page), expected, atol=ROUNDED)
    assert page.evaluate(MARKED, "★") == [[c, r] for c, r in enumerate(expected.argmax(axis=0))]
    assert page.locator("#map th[scope=row]").all_inner_texts() == [f"{place}{text}" for place, text in enumerate(TEXTS, 1)]
    assert page.locator("#map thead th[scope=col]").count() == 1 + len(QUESTIONS)
    name = "Texts, late chunking" if late == "on" else "Texts, each alone"
    cost = page.locator("#costs tbody tr").filter(has=page.get_by_text(name, exact=True)).locator("td").all_inner_texts()
    assert int(cost[0]) == mini.prepare(TEXTS, task="retrieval.passage", late_chunking=late == "on").usage.tokens
    assert float(cost[1]) > 0


def test_what_late_chunking_changes(page: "Page", mini: Encoder) -> None:
    write(page)
    off, on = cosines(mini, late=False), cosines(mini, late=True)
    np.testing.assert_allclose(numbers(page), on - off, atol=ROUNDED)
    pairs = np.array([[number(part) for part in text.split("→")] for text in page.locator("#map td small").all_inner_texts()])
    np.testing.assert_allclose(pairs, np.stack([off.ravel(), on.ravel()], axis=1), atol=ROUNDED)
    moved = off.argmax(axis=0) != on.argmax(axis=0)
    assert moved.any(), "choose texts that show something"
    assert page.evaluate(MARKED, "☆") == [[int(c), int(off[:, c].argmax())] for c in np.flatnonzero(moved)]
    assert page.evaluate(MARKED, "★") == [[c, r] for c, r in enumerate(on.argmax(axis=0))]
    assert f"{moved.sum()} of {len(QUESTIONS)} questions" in page.get_by_role("status").inner_text()
    listed = page.locator("#bests li").all_inner_texts()
    for c, question in enumerate(QUESTIONS):
        assert question in listed[c]
        assert TEXTS[on[:, c].argmax()] in listed[c]
        assert TEXTS[off[:, c].argmax()] in listed[c]
        assert ("\noff: " in listed[c]) == moved[c]


def test_texts_against_each_other_with_a_task_and_dimensions_by_keyboard(page: "Page", mini: Encoder) -> None:
    choose(page, "off", "each other")
    page.get_by_label("Task").select_option("separation")
    slider = page.get_by_label("Dimensions, slider")
    assert slider.get_attribute("max") == str(mini.dimensions)
    slider.press("Home")
    for _ in range(15):
        slider.press("ArrowRight")
    assert page.get_by_label("Dimensions", exact=True).input_value() == "16"
    write(page, questions=None)
    vectors = mini.encode(TEXTS, task="separation", dimensions=16)
    expected = vectors @ vectors.T
    np.fill_diagonal(expected, np.nan)
    np.testing.assert_allclose(numbers(page), expected, atol=ROUNDED)
    assert page.evaluate(MARKED, "★") == [[c, r] for c, r in enumerate(np.nanargmax(expected, axis=0))]


def test_all_tasks_of_the_model_can_be_chosen(page: "Page", mini: Encoder) -> None:
    choose(page, "each other")
    offered = page.get_by_label("Task").locator("option").evaluate_all("(options) => options.map((option) => option.value)")
    assert offered == [*map(str, mini.tasks), "none"]
    page.get_by_label("Task").select_option("none")
    settle(page)
    assert page.get_by_role("alert").count() == 0


@pytest.mark.parametrize("dimensions", ["0", "9999"])
def test_the_servers_own_sentence_is_shown(browser: "Browser", url: str, dimensions: str) -> None:
    body = {"model": "mini", "input": "a", "dimensions": int(dimensions)}
    detail = httpx.post(f"{url}/v1/embeddings", json=body).json()["detail"]
    with visiting(browser, url, refused=1) as page:
        visit(page, url)
        field = page.get_by_label("Dimensions", exact=True)
        field.fill(dimensions)
        field.blur()
        settle(page)
        assert page.get_by_role("alert").inner_text() == detail
        field.fill("8")
        field.blur()
        settle(page)
        assert page.get_by_role("alert").count() == 0


def test_no_text_is_read_as_markup(page: "Page") -> None:
    hostile = [
        "<script>document.title = 'owned'</script>",
        "<img src=x onerror=\"document.title = 'owned'\">",
        "'; $(rm) `rm` & \\",
    ]
    title = page.title()
    write(page, hostile, hostile)
    assert page.locator("#map th[scope=row]").all_inner_texts() == [f"{place}{text}" for place, text in enumerate(hostile, 1)]
    assert page.locator("#bests p").all_inner_texts() == [f"{place}{text}" for place, text in enumerate(hostile, 1)]
    assert page.title() == title
    assert page.locator("img").count() == 0
    assert page.locator("script").count() == 1


def test_the_command_does_what_the_page_did(page: "Page", mini: Encoder) -> None:
    if shutil.which("curl") is None:
        pytest.skip("no curl")
    texts = ['It\'s a text with "quotes".', "$HOME `ls` \\n 東京 😀"]
    choose(page, "on", "each other")
    write(page, texts, questions=None)
    page.get_by_text("The same requests with curl").click()
    command = page.locator("#commands pre").inner_text()
    assert shlex.split(command)[0] == "curl"
    done = subprocess.run(["bash", "-c", f"{command} --silent --fail"], capture_output=True, check=True, timeout=30)
    vectors = np.array([row["embedding"] for row in orjson.loads(done.stdout)["data"]], dtype=np.float32)
    np.testing.assert_array_equal(vectors, mini.encode(texts, task="text-matching", late_chunking=True))
    page.context.grant_permissions(["clipboard-read", "clipboard-write"])
    page.get_by_role("button", name="Copy the command").click()
    page.get_by_text("Copied").wait_for()
    assert page.evaluate("navigator.clipboard.readText()") == command


def test_a_key_is_asked_for_and_kept_nowhere(browser: "Browser", mini: Encoder) -> None:
    with serving(mini, api_keys="sesame") as url, visiting(browser, url, refused=3) as page:
        visit(page, url)
        alert, field = page.get_by_role("alert"), page.get_by_label("API key")
        assert alert.inner_text() == "This server needs a key."
        assert field.evaluate("(field) => field === document.activeElement")
        for key, sentence in (
            ("wrong", "This server does not accept this key."),
            ("schlüssel", "This is not a key"),
        ):
            field.fill(key)
            field.press("Enter")
            settle(page)
            assert alert.inner_text().startswith(sentence)
        field.fill("sesame")
        field.press("Enter")
        settle(page)
        assert alert.count() == 0
        assert numbers(page).size
        assert "$TASKVEC_API_KEY" in (page.locator("#commands").text_content() or "")
        assert "sesame" not in page.content()
        assert page.evaluate("localStorage.length + sessionStorage.length") == 0
        assert page.context.cookies() == []
        page.reload()
        page.get_by_role("alert").wait_for()
        assert field.input_value() == ""


def test_what_the_page_cannot_do_is_said(page: "Page", url: str) -> None:
    write(page, questions=[])
    assert page.get_by_role("alert").inner_text() == "Write a question, or compare the texts with each other."
    write(page, texts=["many"] * 101)
    assert "101 texts" in page.get_by_role("alert").inner_text()
    write(page, texts=["one"])
    assert page.get_by_role("alert").count() == 0
    choose(page, "each other")
    assert page.evaluate(TABLE) == [["—"]]


def test_an_answer_that_comes_late_does_not_replace_a_newer_one(page: "Page", mini: Encoder) -> None:
    page.evaluate(HOLD_ANSWERS)
    page.get_by_role("radio", name="on", exact=True).check()
    page.get_by_role("radio", name="off", exact=True).check()
    page.get_by_label("Texts, one a line").fill("\n".join(TEXTS))
    page.get_by_label("Questions, one a line").fill("\n".join(QUESTIONS))
    page.evaluate("() => { window.holding = false; }")
    page.keyboard.press("Control+Enter")
    settle(page)
    page.evaluate(RELEASE_ANSWERS)
    np.testing.assert_allclose(numbers(page), cosines(mini, late=False), atol=ROUNDED)


@pytest.mark.parametrize("scheme", ["light", "dark"])
def test_it_fits_a_narrow_screen_and_can_be_read(browser: "Browser", url: str, scheme: Any) -> None:
    with visiting(browser, url, viewport={"width": 320, "height": 640}, color_scheme=scheme) as page:
        visit(page, url)
        for view in ("what changes", "off", "each other"):
            choose(page, view)
            assert page.evaluate("document.documentElement.scrollWidth") <= 320
            assert page.evaluate(CONTRAST) >= 4.5
        page.evaluate("scrollTo(0, 0)")
        write(page, questions=None)
        in_view(page)


def test_documentation_needs_no_other_host(browser: "Browser", url: str) -> None:
    with visiting(browser, url) as page:
        page.goto(url)
        settle(page)
        page.get_by_role("link", name="API documentation").click()
        page.locator("[data-path='/v1/embeddings']").first.wait_for()
        page.locator(".opblock-summary-control").first.click()
        page.get_by_role("button", name="Try it out").click()
        page.locator(".body-param__text").fill('{"model": "mini", "input": "a", "dimensions": 2}')
        page.get_by_role("button", name="Execute").click()
        page.locator(".live-responses-table .response-col_status").get_by_text("200").wait_for()


def test_pages_are_open_and_strict(mini: Encoder) -> None:
    with serving(mini, api_keys="sesame") as url, httpx.Client(base_url=url) as client:
        for path in ("/", "/docs"):
            answer = client.get(path)
            assert answer.status_code == 200
            policy = answer.headers["content-security-policy"]
            assert policy.startswith("default-src 'none'; ")
            assert "unsafe" not in policy
            assert "https:" not in policy
        assert client.get("/docs/swagger-ui.css").headers["content-type"].startswith("text/css")
        assert "javascript" in client.get("/docs/swagger-ui-bundle.js").headers["content-type"]
        assert client.get("/docs/redoc.standalone.js").status_code == 401
        opened = {"Authorization": "Bearer sesame"}
        for name in ("redoc.standalone.js", "..%2Fcore.py", "%2e%2e/core.py"):
            assert client.get(f"/docs/{name}", headers=opened).status_code == 404
