"The documentation site: built once from the stored notebooks, then every page in a real browser."

import ast
import html
import html.parser
import importlib
import importlib.util
import inspect
import re
import shutil
import sys
import time
from pathlib import Path
from urllib.parse import unquote
import pytest
from browser import browser, chromium

ROOT = Path(__file__).resolve().parents[1]
PAGES = ["api"]
for stem in sorted(p.stem for p in (ROOT / "nbs").glob("*.ipynb")):
    PAGES.append(short if (short := re.sub(r"^\d+[a-z]?_", "", stem)) not in PAGES else stem)


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


def test_links_lead_somewhere(site, links):
    broken = []
    for page, found in links.items():
        for to in found.to + found.loads:
            if re.match(r"[a-z]+:", to):
                continue
            path, _, anchor = to.partition("#")
            if (
                path
                and not (site / path).is_file()
                or anchor
                and unquote(anchor) not in links[path or page].ids
            ):
                broken.append(f"{page}: {to}")
    assert not broken


def test_links_into_the_repository_lead_somewhere(docs, links):
    ours = {
        to.removeprefix(docs.BLOB + "/")
        for found in links.values()
        for to in found.to
        if to.startswith(docs.BLOB)
    }
    assert ours and not [to for to in ours if not (ROOT / unquote(to).partition("#")[0]).exists()]


def test_anchors_are_unique(links):
    assert not [(page, i) for page, found in links.items() for i in set(found.ids) if found.ids.count(i) > 1]


def test_nothing_is_loaded_from_elsewhere(site, links):
    assert not [
        src
        for found in links.values()
        for src in found.loads
        if re.match(r"(?!data:)[a-z]*:?//|https?:", src)
    ]
    assert not re.search(
        r"url\(\s*['\"]?(?:https?:)?//|@import",
        "".join(p.read_text(encoding="utf8") for p in site.rglob("*.css")),
    )


def test_every_exported_name_has_an_entry(links):
    missing = []
    for path in sorted((ROOT / "so_attack").glob("[!_]*.py")):
        tree = ast.parse(path.read_text(encoding="utf8"))
        names = next(
            ast.literal_eval(n.value)
            for n in tree.body
            if isinstance(n, ast.Assign) and n.targets[0].id == "__all__"
        )
        page = re.sub(r"^\d+[a-z]?_", "", re.search(r"nbs/(\S+)\.ipynb", path.read_text(encoding="utf8"))[1])
        missing += [
            f"{path.stem}.{name}"
            for name in names
            if name not in links[f"{page}.html"].ids or f"{page}.html#{name}" not in links["api.html"].to
        ]
    assert not missing


def entry(site, page, name):
    "The markup of a name's entry, up to its methods."
    text = (site / page).read_text(encoding="utf8")
    start = text.find('<section class="entry', max(0, text.find(f' id="{name}"') - 60))
    return re.split(r'<details class="members">|</section>', text[start:])[0]


def test_docments_are_shown(site):
    shown = entry(site, "attacks.html", "SecondOrder")
    for part in ("noisy gradients a step", "radius of the ball, in pixel", "so_attack/attacks.py#L"):
        assert part in shown


def test_what_a_private_base_offers_is_shown_with_each_class(site):
    assert {f'id="{name}.state"' for name in ("Defence", "Natural", "Ensemble")} <= set(
        re.findall(r'id="[^"]*"', (site / "defenses.html").read_text(encoding="utf8"))
    )


MODULES = sorted(p.stem for p in (ROOT / "so_attack").glob("[!_]*.py"))


@pytest.mark.parametrize("module", MODULES)
def test_signatures_are_those_of_the_library(module, site):
    "The pages read the source, Python runs it: names, order and defaults must agree."
    lib, wrong = importlib.import_module(f"so_attack.{module}"), []
    page = (
        re.sub(
            r"^\d+[a-z]?_",
            "",
            re.search(r"nbs/(\S+)\.ipynb", Path(lib.__file__).read_text(encoding="utf8"))[1],
        )
        + ".html"
    )
    for name in lib.__all__:
        thing = getattr(lib, name)
        if (
            not inspect.isroutine(thing)
            and not isinstance(thing, type)
            or isinstance(thing, type)
            and not getattr(thing.__init__, "__module__", "").startswith("so_attack")
        ):
            continue
        shown = html.unescape(
            re.sub(
                r"<[^>]+>",
                "",
                re.search(r'<code class="signature">(.*?)</code>', entry(site, page, name), re.S)[1],
            )
        )
        a = ast.parse(f"def {shown}: pass").body[0].args
        told = {p.arg: None for p in a.args + a.kwonlyargs + [v for v in (a.vararg, a.kwarg) if v]}
        told |= {
            p.arg: ast.unparse(d)
            for p, d in [
                *zip(a.args[len(a.args) - len(a.defaults) :], a.defaults),
                *zip(a.kwonlyargs, a.kw_defaults),
            ]
            if d
        }
        true = {p.name: p.default for p in inspect.signature(thing).parameters.values()}
        if sorted(told) != sorted(true) or [n for n in told if n in {p.arg for p in a.args}] != [
            n for n in true if n in {p.arg for p in a.args}
        ]:
            wrong.append(f"{shown}: has {list(true)}")
        for n, d in told.items():
            if (d is None) != (true.get(n) is inspect.Parameter.empty):
                wrong.append(f"{shown}: default of {n}")
            elif d is not None and literal(d) != ... and literal(d) != true[n]:
                wrong.append(f"{shown}: {n} is {true[n]!r}")
    assert not wrong


def literal(text):
    try:
        return ast.literal_eval(text)
    except ValueError:
        return ...


def test_prose_links_to_entries(links):
    assert "attacks.html#PGD" in {to for found in links.values() for to in found.to}


def test_file_names_and_columns_are_no_links(links):
    assert (
        not [to for to in links["report.html"].to if to.startswith("cli.html#table1")]
        and "audit.html#accuracy" not in links["attack.html"].to
    )


def test_a_table_has_words_left_and_numbers_right(docs):
    shown = docs.frame(
        "<table><thead><tr><th></th><th>why</th><th>n</th></tr></thead><tbody><tr><th>a</th><td>not run</td><td>3</td></tr></tbody></table>"
    )
    assert (
        '<th class="words">why</th><th>n</th>' in shown
        and '<td class="words">not run</td><td>3</td>' in shown
    )


def test_text_keeps_the_rows_of_a_table_and_breaks_sentences(docs, tmp_path):
    rows = docs.Site(tmp_path).lines(
        "threat    robust\nlinf:0.3    95.0\n• so long a sentence\npassed  mode    The model came in eval mode, as it should have done"
    )
    assert (
        [" row" in line for line in rows.splitlines() if "span" in line and "--in" in line]
        == [True, True, False, False]
        and '"--in:2">•' in rows
        and '"--in:16">passed' in rows
    )


def test_long_words_break_where_a_reader_would(docs):
    assert (
        docs.breakable("torch.testing.assert_close(δ &lt; x)")
        == "torch.<wbr>testing.<wbr>assert_close(<wbr>δ &lt; x)"
        and docs.breakable("a.b(c)") == "a.b(c)"
    )
    assert (
        docs.inline_code("run --n 5") == '<code>run <span class="whole">--n</span> 5</code>'
        and docs.unbroken("S-O, so 1") == '<span class="whole">S-O</span>, so 1'
    )


def test_a_dead_link_stops_the_build(docs, tmp_path, monkeypatch):
    nbs = tmp_path / "nbs"
    shutil.copytree(ROOT / "nbs" / "images", nbs / "images")
    (nbs / "index.ipynb").write_text(
        '{"cells": [{"cell_type": "markdown", "source": "# so\\n\\n> it\\n\\nsee [this](00_gone.ipynb)"}]}'
    )
    monkeypatch.setattr(docs, "NBS", nbs)
    with pytest.raises(SystemExit, match="00_gone.ipynb leads nowhere"):
        docs.build(tmp_path / "out")


def test_formulas(docs, tmp_path):
    "TeX becomes MathML, side by side becomes parts, a number stands apart; what cannot be set stops the build and says where."
    site = docs.Site(tmp_path)
    site.here = site.pages[0]
    made = site.formulas(
        site.md.render("$\\sqrt{x}<1$ and\n\n$$a=b,\\qquad c=\\mathcal N\\quad\\Rightarrow\\quad d\\tag{3}$$")
    )
    assert "<msqrt><mi>x</mi></msqrt><mo>&lt;</mo>" in made and "$" not in made
    assert (
        made.count('<span class="part"><math displaystyle="true">') == 3
        and "<span class=tag>(3)</span>" in made
        and {"x", "𝒩", "⇒"} <= site.characters
    )
    site.formulas(site.md.render(r"$\nonsense$"))
    assert len(site.problems) == 1 and r"index.ipynb: the formula \nonsense cannot be set" in site.problems[0]


def test_the_font_is_cut_to_what_is_written(docs, tmp_path):
    from fontTools.ttLib import TTFont

    docs.write_font(tmp_path / "math.woff", set("xhδϵ∑("))
    with TTFont(tmp_path / "math.woff") as font:
        assert {"x", "𝑥", "ℎ", "δ", "𝛿", "𝜖", "∑", "√"} <= set(map(chr, font.getBestCmap())) and ord(
            "q"
        ) not in font.getBestCmap()
        assert "MATH" in font and len(font.getGlyphOrder()) > 20, "parentheses and sums have larger forms"
        assert "Open Font License" in font["name"].getDebugName(13)


# ---- in the browser -----------------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("page", PAGES)
def test_page(page, site, tab):
    "No complaint, every picture there, every formula set, and no scrolling sideways on a phone."
    tab.complaints.clear()
    tab.size(1280, 900)
    tab.open(f"{(site / page).as_uri()}.html")
    tab.run("Promise.all([...document.images].map(i => { i.loading = 'eager'; return i.decode() }))")
    assert (
        tab.run("[...document.images].filter(i => !i.naturalWidth || !i.hasAttribute('alt')).map(i => i.src)")
        == []
    )
    assert (
        tab.run(
            "[...document.querySelectorAll('.math')].filter(m => !m.querySelector('math')?.getBoundingClientRect().width || m.querySelector('merror')).map(m => m.textContent)"
        )
        == []
    )
    assert tab.run(
        "document.fonts.ready.then(() => !document.querySelector('math') || [...document.fonts].every(f => f.status == 'loaded'))"
    ), "the formulas' font is missing"
    assert (
        tab.run(
            "[...document.querySelectorAll('main p, main li, main td')].filter(e => !e.closest('pre')).map(e => [...e.childNodes].filter(n => n.nodeType === 3).map(n => n.data).join('')).filter(t => /\\$[^$]+\\$|\\\\(frac|lVert|nabla)/.test(t))"
        )
        == []
    )
    assert (
        tab.run(
            "[...document.querySelectorAll('.math.block')].filter(m => m.scrollWidth > m.clientWidth).map(m => m.textContent)"
        )
        == []
    ), "a formula is cut off"
    for width, phone in ((1280, False), (800, False), (375, True)):
        tab.size(width, 800, phone)
        assert tab.run("document.documentElement.scrollWidth") <= width, (
            f"scrolls sideways at {width} pixels: "
            + str(
                tab.run(
                    f"[...document.querySelectorAll('body *')].filter(e => e.getBoundingClientRect().right > {width} + 1 && !e.closest('.scroll, pre, .math')).map(e => e.outerHTML.slice(0, 120))"
                )
            )
        )
        assert (
            tab.run(
                "[...document.querySelectorAll('pre.code')].filter(e => e.scrollWidth > e.clientWidth + 1).map(e => e.textContent.slice(0, 80))"
            )
            == []
        ), f"code scrolls at {width} pixels"
    assert tab.complaints == []


@pytest.mark.parametrize("page", ["attacks", "curvature", "defenses", "norms"])
def test_formulas_on_a_phone(page, site, tab):
    "What does not fit beside each other goes one below the other, and nothing is cut off."
    tab.size(375, 800, True)
    tab.open(f"{(site / page).as_uri()}.html")
    assert (
        tab.run(
            "[...document.querySelectorAll('.math.block')].filter(m => m.scrollWidth > m.clientWidth).map(m => m.textContent)"
        )
        == []
    )


@pytest.fixture
def front(site, tab):
    tab.complaints.clear()
    tab.size(1280, 900)
    tab.open((site / "index.html").as_uri())
    tab.run("localStorage.clear()")
    tab.open((site / "index.html").as_uri())
    yield tab
    assert tab.complaints == []


def test_search(front):
    front.run("document.dispatchEvent(new KeyboardEvent('keydown', {key: '/', bubbles: true}))")
    assert front.run("document.querySelector('#ui-search').open")
    front.run(
        "{ const f = document.querySelector('#ui-search input'); f.value = 'SecondOrder'; f.dispatchEvent(new Event('input')) }"
    )
    assert (
        front.run("document.querySelector('#ui-search li a').getAttribute('href')")
        == "attacks.html#SecondOrder"
    )
    front.run(
        "{ const f = document.querySelector('#ui-search input'); f.value = 'vanished gradient'; f.dispatchEvent(new Event('input')) }"
    )
    assert front.run("document.querySelectorAll('#ui-search li mark').length") > 1
    front.run(
        "{ const f = document.querySelector('#ui-search input'); f.value = 'zzzz'; f.dispatchEvent(new Event('input')) }"
    )
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
    first, last = (
        "document.querySelector('#ui-sidebar a')",
        "[...document.querySelectorAll('#ui-sidebar a')].at(-1)",
    )
    assert front.run(
        f"{first}.getBoundingClientRect().top >= document.querySelector('.bar').getBoundingClientRect().bottom"
    )
    assert front.run(f"{last}.scrollIntoView(), {last}.getBoundingClientRect().bottom <= innerHeight"), (
        "the menu does not scroll to its end"
    )


def test_the_result_comes_first(front):
    assert front.run("(i => i && i.getBoundingClientRect().top)(document.querySelector('main img'))") < 900
    assert (
        front.run(
            "[...document.querySelectorAll('main img, main h2')].map(e => e.tagName).slice(0, 3).join()"
        )
        == "IMG,IMG,H2"
    )
