"The documentation site: built once from the stored notebooks, then every page in a real browser."

import ast
import html
import html.parser
import importlib
import importlib.util
import inspect
import json
import re
import shutil
import sys
import time
from pathlib import Path
from urllib.parse import unquote
import pytest
from browser import browser, chromium

ROOT = Path(__file__).resolve().parents[1]
STEMS = sorted(p.stem for p in (ROOT / "nbs").glob("*.ipynb"))


def page_of(stem):
    "The name of a notebook's page."
    return re.sub(r"^\d+[a-z]?_", "", stem)


PAGES = ["api", *map(page_of, STEMS)]
MODULES = sorted(p.stem for p in (ROOT / "so_attack").glob("[!_]*.py"))


def home_of(module):
    "The page of a module."
    text = (ROOT / "so_attack" / f"{module}.py").read_text(encoding="utf8")
    return page_of(re.search(r"nbs/(\S+)\.ipynb", text)[1])


@pytest.fixture(scope="session")
def docs():
    "The builder, which is a script and no module."
    for name in ("fontTools", "jinja2", "markdown_it", "math_core", "mdit_py_plugins", "pygments", "ziamath"):
        pytest.importorskip(name)
    return script("docs")


@pytest.fixture(scope="session")
def site(docs, tmp_path_factory):
    out, start = tmp_path_factory.mktemp("docs") / "site", time.process_time()
    docs.build(out)
    assert time.process_time() - start < 60  # its own seconds: the machine may be busy
    return out


@pytest.fixture(scope="session")
def tab(site):
    if not chromium():
        pytest.skip("needs a Chromium on PATH (Debian: apt-get install chromium)")
    with browser() as b:
        yield b


class Links(html.parser.HTMLParser):
    "What a page refers to, and what it may be referred to by."

    def __init__(self, text):
        super().__init__()
        self.to, self.ids, self.loads = [], [], []
        self.feed(text)

    def handle_starttag(self, tag, attrs):
        a = dict(attrs)
        if "id" in a:
            self.ids.append(a["id"])
        if tag == "a" and "href" in a:
            self.to.append(a["href"])
        if "src" in a:
            self.loads.append(a["src"])
        if tag == "link":
            self.loads.append(a["href"])


@pytest.fixture(scope="session")
def links(site):
    return {p.name: Links(p.read_text(encoding="utf8")) for p in site.glob("*.html")}


def script(name):
    "A script of `.ci`, as a module."
    spec = importlib.util.spec_from_file_location(name, ROOT / ".ci" / f"{name}.py")
    module = sys.modules[name] = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


def test_every_notebook_opens_in_colab():
    assert not [p.name for p in script("colab").missing()], "run `python .ci/colab.py`"


def test_every_notebook_has_a_page(links):
    assert sorted(links) == sorted(f"{p}.html" for p in PAGES)


def leads(site, links, page, to):
    "Is there what a link points to?"
    if re.match(r"[a-z]+:", to):
        return True
    path, _, anchor = to.partition("#")
    if path and not (site / path).is_file():
        return False
    return not anchor or unquote(anchor) in links[path or page].ids


def test_links_lead_somewhere(site, links):
    everything = [(page, to) for page, found in links.items() for to in found.to + found.loads]
    assert not [f"{page}: {to}" for page, to in everything if not leads(site, links, page, to)]


def test_links_into_the_repository_lead_somewhere(docs, links):
    everything = {to for found in links.values() for to in found.to}
    ours = [to.removeprefix(docs.BLOB + "/") for to in everything if to.startswith(docs.BLOB)]
    assert ours and not [to for to in ours if not (ROOT / unquote(to).partition("#")[0]).exists()]


def test_anchors_are_unique(links):
    assert not [(page, i) for page, found in links.items() for i in set(found.ids) if found.ids.count(i) > 1]


def test_nothing_is_loaded_from_elsewhere(site, links):
    loads = [src for found in links.values() for src in found.loads]
    assert not [src for src in loads if re.match(r"(?!data:)[a-z]*:?//|https?:", src)]
    styles = "".join(p.read_text(encoding="utf8") for p in site.rglob("*.css"))
    assert not re.search(r"url\(\s*['\"]?(?:https?:)?//|@import", styles)


def test_the_sidebar_has_the_wings_in_order(site):
    sidebar = re.search(
        r'(?s)<nav id="ui-sidebar".*?</nav>', (site / "index.html").read_text(encoding="utf8")
    )
    parts = re.split(r"<h2>(.*?)</h2>", sidebar[0])
    wings = [
        "The attack",
        "The paper",
        "Models and data",
        "The audit",
        "The results",
        "Three norms",
        "Tutorials",
    ]
    assert parts[1::2] == wings
    for digit, part in zip("0123456", parts[2::2]):
        pages = [f"{page_of(stem)}.html" for stem in STEMS if stem[0] == digit]
        assert re.findall(r'href="([^"]*)"', part) == pages


def exported(module):
    "The public names that a room defines; those that it offers for another room are shown there."
    text = (ROOT / "so_attack" / f"{module}.py").read_text(encoding="utf8")
    tree, names, elsewhere = ast.parse(text), [], set()
    for node in tree.body:
        if isinstance(node, ast.Assign) and ast.unparse(node.targets[0]) == "__all__":
            names = ast.literal_eval(node.value)
        elif isinstance(node, ast.ImportFrom):
            elsewhere |= {a.asname or a.name for a in node.names}
    return [name for name in names if name not in elsewhere]


@pytest.mark.parametrize("module", MODULES)
def test_every_exported_name_has_an_entry(module, links):
    page, index = f"{home_of(module)}.html", links["api.html"].to
    assert not [n for n in exported(module) if n not in links[page].ids or f"{page}#{n}" not in index]


def entry(site, page, name):
    "The markup of a name's entry, up to its methods."
    text = (site / page).read_text(encoding="utf8")
    start = text.find('<section class="entry', max(0, text.find(f' id="{name}"') - 60))
    return re.split(r'<details class="members">|</section>', text[start:])[0]


def test_docments_are_shown(site):
    shown = entry(site, "attacks.html", "SecondOrder")
    for part in ("noisy gradients a step", "radius of the ball, in pixel", "so_attack/attacks.py#L"):
        assert part in shown


def test_options_of_a_command_are_explained(site):
    shown = entry(site, "cli.html", "audit")
    for part in ("timm:NAME, hf:NAME", "once for each threat", "A second opinion", "Fixes all randomness."):
        assert part in shown
    assert "Images for the robust accuracies." in entry(site, "cli.html", "bench")


SOURCE = """
def one(
    x: int,  # first
    y=2,  # second
):  # what it returns
    "Does it."

def short(x):  # what it is
    return x

@dataclass
class Value:
    a: int = 1  # the field
    def method(self, b) -> int: return b

class More(Value):
    b: int  # no field: this is no dataclass

class Other(Value):
    def __init__(self, c): self.c = c
"""


def test_definitions_are_read(docs):
    one, brief, value, more, other = docs.entries(SOURCE)
    for e in (more, other):
        docs.inherit(e, {"Value": [value]})
    assert more.params == value.params and other.params == [("c", "", None, "")]
    assert one.params == [("x", "int", None, "first"), ("y", "", "2", "second")]
    assert one.returns == ("", "what it returns") and one.doc == "Does it."
    assert brief.params == [("x", "", None, "")] and brief.doc == "what it is" and brief.returns == ("", "")
    assert value.params == [("a", "int", "1", "the field")]
    (method,) = value.members
    assert (method.name, method.kind, method.returns) == ("Value.method", "method", ("int", ""))
    assert method.params == [("b", "", None, "")]


def test_what_a_private_base_offers_is_shown_with_each_class(site):
    ids = re.findall(r'id="([^"]*)"', (site / "defenses.html").read_text(encoding="utf8"))
    assert {f"{name}.state" for name in ("Defence", "Natural", "Ensemble")} <= set(ids)


def is_ours(thing):
    "A function, or a class whose __init__ we wrote."
    if isinstance(thing, type):
        return getattr(thing.__init__, "__module__", "").startswith("so_attack")
    return inspect.isroutine(thing)


def literal(text):
    try:
        return ast.literal_eval(text)
    except ValueError:
        return ...


def shown_signature(site, module, name):
    "Its text, the arguments with their defaults as text, and the names of those that have a place."
    markup = entry(site, f"{home_of(module)}.html", name)
    code = re.search(r'<code class="signature">(.*?)</code>', markup, re.S)[1]
    text = html.unescape(re.sub(r"<[^>]+>", "", code))
    a = ast.parse(f"def {text}: pass").body[0].args
    rest = [v for v in (a.vararg, a.kwarg) if v]
    told = {p.arg: None for p in a.args + a.kwonlyargs + rest}
    defaults = [*zip(a.args[len(a.args) - len(a.defaults) :], a.defaults), *zip(a.kwonlyargs, a.kw_defaults)]
    told |= {p.arg: ast.unparse(d) for p, d in defaults if d}
    return text, told, [p.arg for p in a.args]


@pytest.mark.parametrize("module", MODULES)
def test_signatures_are_those_of_the_library(module, site):
    "The pages read the source, Python runs it: names, order and defaults must agree."
    lib, wrong = importlib.import_module(f"so_attack.{module}"), []
    for name in [name for name in exported(module) if is_ours(getattr(lib, name))]:
        text, told, placed = shown_signature(site, module, name)
        true = {p.name: p.default for p in inspect.signature(getattr(lib, name)).parameters.values()}
        if sorted(told) != sorted(true) or placed != [n for n in true if n in placed]:
            wrong.append(f"{text}: has {list(true)}")
        for n, default in told.items():
            if (default is None) != (true.get(n) is inspect.Parameter.empty):
                wrong.append(f"{text}: default of {n}")
            elif default is not None and literal(default) not in (..., true[n]):
                wrong.append(f"{text}: {n} is {true[n]!r}")
    assert not wrong


def test_prose_links_to_entries(links):
    assert "attacks.html#PGD" in {to for found in links.values() for to in found.to}


def test_file_names_and_columns_are_no_links(links):
    assert not [to for to in links["report.html"].to if to.startswith("cli.html#table1")]
    assert "audit.html#accuracy" not in links["attack.html"].to


def test_a_table_has_words_left_and_numbers_right(docs):
    head = "<thead><tr><th></th><th>why</th><th>n</th></tr></thead>"
    body = "<tbody><tr><th>a</th><td>not run</td><td>3</td></tr></tbody>"
    shown = docs.frame(f"<table>{head}{body}</table>")
    assert '<th class="words">why</th><th>n</th>' in shown
    assert '<td class="words">not run</td><td>3</td>' in shown


def test_text_keeps_the_rows_of_a_table_and_breaks_sentences(docs, tmp_path):
    lines = [
        "threat    robust",
        "linf:0.3    95.0",
        "• so long a sentence",
        "passed  mode    The model came in eval mode, as it should have done",
    ]
    rows = docs.Site(tmp_path).lines("\n".join(lines))
    kinds = [" row" in line for line in rows.splitlines() if "span" in line and "--in" in line]
    assert kinds == [True, True, False, False]
    assert '"--in:2">•' in rows and '"--in:16">passed' in rows


def test_long_words_break_where_a_reader_would(docs):
    broken = "torch.<wbr>testing.<wbr>assert_close(<wbr>δ &lt; x)"
    assert docs.breakable("torch.testing.assert_close(δ &lt; x)") == broken
    assert docs.breakable("a.b(c)") == "a.b(c)"
    assert docs.inline_code("run --n 5") == '<code>run <span class="whole">--n</span> 5</code>'
    assert docs.unbroken("S-O, so 1") == '<span class="whole">S-O</span>, so 1'


def test_a_dead_link_stops_the_build(docs, tmp_path, monkeypatch):
    nbs = tmp_path / "nbs"
    shutil.copytree(ROOT / "nbs" / "images", nbs / "images")
    cell = {"cell_type": "markdown", "source": "# so\n\n> it\n\nsee [this](00_gone.ipynb)"}
    (nbs / "index.ipynb").write_text(json.dumps({"cells": [cell]}))
    monkeypatch.setattr(docs, "NBS", nbs)
    with pytest.raises(SystemExit, match="00_gone.ipynb leads nowhere"):
        docs.build(tmp_path / "out")


def test_formulas(docs, tmp_path):
    """TeX becomes MathML, side by side becomes parts, a number stands apart.

    What cannot be set stops the build and says where."""
    site = docs.Site(tmp_path)
    site.here = site.pages[0]
    text = "$\\sqrt{x}<1$ and\n\n$$a=b,\\qquad c=\\mathcal N\\quad\\Rightarrow\\quad d\\tag{3}$$"
    made = site.formulas(site.md.render(text))
    assert "<msqrt><mi>x</mi></msqrt><mo>&lt;</mo>" in made and "$" not in made
    assert made.count('<span class="part"><math displaystyle="true">') == 3
    assert "<span class=tag>(3)</span>" in made and {"x", "𝒩", "⇒"} <= site.characters
    site.formulas(site.md.render(r"$\nonsense$"))
    assert len(site.problems) == 1 and r"index.ipynb: the formula \nonsense cannot be set" in site.problems[0]


def test_the_font_is_cut_to_what_is_written(docs, tmp_path):
    from fontTools.ttLib import TTFont

    docs.write_font(tmp_path / "math.woff", set("xhδϵ∑("))
    with TTFont(tmp_path / "math.woff") as font:
        known = set(map(chr, font.getBestCmap()))
        assert {"x", "𝑥", "ℎ", "δ", "𝛿", "𝜖", "∑", "√"} <= known and "q" not in known
        assert "MATH" in font and len(font.getGlyphOrder()) > 20, "parentheses and sums have larger forms"
        assert "Open Font License" in font["name"].getDebugName(13)


# ---- in the browser ----

PICTURES = "[...document.images].filter(i => !i.naturalWidth || !i.hasAttribute('alt')).map(i => i.src)"
UNSET = """
[...document.querySelectorAll('.math')].filter(
    m => !m.querySelector('math')?.getBoundingClientRect().width || m.querySelector('merror')
).map(m => m.textContent)
"""
FONT_IS_THERE = """
document.fonts.ready.then(
    () => !document.querySelector('math') || [...document.fonts].every(f => f.status == 'loaded')
)
"""
RAW_TEX = r"""
[...document.querySelectorAll('main p, main li, main td')].filter(e => !e.closest('pre')).map(
    e => [...e.childNodes].filter(n => n.nodeType === 3).map(n => n.data).join('')
).filter(t => /\$[^$]+\$|\\(frac|lVert|nabla)/.test(t))
"""
CUT_OFF = """
[...document.querySelectorAll('.math.block')].filter(
    m => m.scrollWidth > m.clientWidth
).map(m => m.textContent)
"""
CODE_SCROLLS = """
[...document.querySelectorAll('pre.code')].filter(
    e => e.scrollWidth > e.clientWidth + 1
).map(e => e.textContent.slice(0, 80))
"""
SHOW_ALL = "Promise.all([...document.images].map(i => { i.loading = 'eager'; return i.decode() }))"


def wider(tab, width):
    "What makes the page scroll sideways."
    if tab.run("document.documentElement.scrollWidth") <= width:
        return []
    sticks_out = f"e => e.getBoundingClientRect().right > {width} + 1 && !e.closest('.scroll, pre, .math')"
    found = f"[...document.querySelectorAll('body *')].filter({sticks_out})"
    return tab.run(f"{found}.map(e => e.outerHTML.slice(0, 120))") or ["something"]


@pytest.mark.parametrize("page", PAGES)
def test_page(page, site, tab):
    "No complaint, every picture there, every formula set, and no scrolling sideways on a phone."
    tab.complaints.clear()
    tab.size(1280, 900)
    tab.open(f"{(site / page).as_uri()}.html")
    tab.run(SHOW_ALL)
    assert tab.run(PICTURES) == [] and tab.run(UNSET) == [] and tab.run(RAW_TEX) == []
    assert tab.run(FONT_IS_THERE), "the formulas' font is missing"
    assert tab.run(CUT_OFF) == [], "a formula is cut off"
    for width, phone in ((1280, False), (800, False), (375, True)):
        tab.size(width, 800, phone)
        assert wider(tab, width) == [], f"scrolls sideways at {width} pixels"
        assert tab.run(CODE_SCROLLS) == [], f"code scrolls at {width} pixels"
    assert tab.complaints == []


@pytest.mark.parametrize("page", ["attacks", "curvature", "defenses", "norms"])
def test_formulas_on_a_phone(page, site, tab):
    "What does not fit beside each other goes one below the other, and nothing is cut off."
    tab.size(375, 800, True)
    tab.open(f"{(site / page).as_uri()}.html")
    assert tab.run(CUT_OFF) == []


@pytest.fixture
def front(site, tab):
    tab.complaints.clear()
    tab.size(1280, 900)
    tab.open((site / "index.html").as_uri())
    tab.run("localStorage.clear()")
    tab.open((site / "index.html").as_uri())
    yield tab
    assert tab.complaints == []


def search(front, words):
    field = "const f = document.querySelector('#ui-search input')"
    front.run(f"{{ {field}; f.value = '{words}'; f.dispatchEvent(new Event('input')) }}")


def test_search(front):
    front.run("document.dispatchEvent(new KeyboardEvent('keydown', {key: '/', bubbles: true}))")
    assert front.run("document.querySelector('#ui-search').open")
    search(front, "SecondOrder")
    first = front.run("document.querySelector('#ui-search li a').getAttribute('href')")
    assert first == "attacks.html#SecondOrder"
    search(front, "vanished gradient")
    assert front.run("document.querySelectorAll('#ui-search li mark').length") > 1
    search(front, "zzzz")
    assert front.run("document.querySelector('#ui-search ol').textContent") == "Nothing found"


def test_dark(front, site):
    colour = "getComputedStyle(document.body).backgroundColor"
    before = front.run(colour)
    front.run("document.querySelector('#ui-theme').click()")
    dark = front.run(colour)
    assert dark != before
    front.open((site / "norms.html").as_uri())
    assert front.run(colour) == dark, "the choice is forgotten on the next page"
    front.run("document.querySelector('#ui-theme').click()")
    assert front.run(colour) == before


def test_menu_on_a_phone(front):
    front.size(375, 800, True)
    shown = "getComputedStyle(document.querySelector('#ui-sidebar')).display"
    assert front.run(shown) == "none"
    front.run("document.querySelector('#ui-menu').click()")
    assert front.run(shown) == "block" and front.run("document.querySelectorAll('#ui-sidebar a').length") > 10
    first, links = "document.querySelector('#ui-sidebar a')", "document.querySelectorAll('#ui-sidebar a')"
    top, bar = (
        f"{first}.getBoundingClientRect().top",
        "document.querySelector('.bar').getBoundingClientRect()",
    )
    assert front.run(f"{top} >= {bar}.bottom")
    last = f"[...{links}].at(-1)"
    seen = front.run(f"{last}.scrollIntoView(), {last}.getBoundingClientRect().bottom <= innerHeight")
    assert seen, "the menu does not scroll to its end"


def test_the_result_comes_first(front):
    assert front.run("(i => i && i.getBoundingClientRect().top)(document.querySelector('main img'))") < 900
    order = front.run("[...document.querySelectorAll('main img, main h2')].map(e => e.tagName).slice(0, 3)")
    assert order == ["IMG", "IMG", "H2"]
