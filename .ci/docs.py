"""The documentation site, from the notebooks with their stored outputs: nothing is executed, and no page loads anything from elsewhere.

    python .ci/docs.py                 write _docs/; open _docs/index.html, or serve it with `python -m http.server -d _docs`
    python .ci/docs.py --out DIR       write elsewhere

Formulas become MathML, which browsers set themselves: no script, and of the font the characters that occur.
"""

import argparse
import ast
import base64
import builtins
import html
import io
import json
import re
import shutil
import struct
import tokenize
import unicodedata
from configparser import ConfigParser
from dataclasses import dataclass, field, replace
from importlib.util import find_spec
from pathlib import Path
from fontTools import subset
from jinja2 import Environment, FileSystemLoader
from markdown_it import MarkdownIt
from math_core import LatexError, LatexToMathML
from mdit_py_plugins.dollarmath import dollarmath_plugin
from pygments import highlight
from pygments.formatters import HtmlFormatter
from pygments.lexers import get_lexer_by_name
from pygments.util import ClassNotFound

ROOT = Path(__file__).resolve().parents[1]
THEME = ROOT / ".ci" / "theme"
FONT = (
    Path(find_spec("ziamath").origin).parent / "fonts" / "STIXTwoMath-Regular.ttf"
)  # a mathematical font on the package index; its licence travels in it
COLOURS = re.compile(r"\x1b\[[0-9;?]*[a-zA-Z]")  # what a terminal takes for colours
PARTS = {"0": "The library", "1": "The library", "2": "The paper", "3": "Beyond the paper", "4": "Tutorials"}
settings = ConfigParser()
settings.read(ROOT / "settings.ini", encoding="utf8")
CFG = settings["DEFAULT"]
NBS, LIB, BLOB = ROOT / CFG["nbs_path"], CFG["lib_name"], f"{CFG['git_url']}/blob/{CFG['branch']}"


def esc(text):
    return html.escape(str(text), quote=True)


def plain_text(markup):
    return html.unescape(re.sub(r"<[^>]+>", "", markup))


def plain(markup):
    return plain_text(markup).strip()


def slug(text):
    return re.sub(r"[^\w.]+", "-", plain(text).lower()).strip("-") or "section"


def spoken(tex):
    "TeX for the search: Greek letters as letters, no commands and no braces."

    def letter(m):
        try:
            return unicodedata.lookup("GREEK SMALL LETTER " + m[1].removeprefix("var").upper())
        except KeyError:
            return " "

    return re.sub(r"[{}$^_]", "", re.sub(r"\\([A-Za-z]+|.)", letter, tex))


# ---- what the library exports, read from the source -----------------------------------------------------------------------------------


@dataclass
class Entry:
    "One exported name, or a public method of it."

    name: str
    kind: str  # function, class, value, method, property
    params: list  # (name, type, default, doc) as text; default None where there is none
    returns: tuple  # (type, doc)
    doc: str
    bases: list = field(default_factory=list)
    members: list = field(default_factory=list)
    page: str = ""
    module: str = ""
    line: int = 0
    value: str = ""  # of a value: the expression, shortened

    @property
    def signature(self):
        return (
            f"{self.name}({', '.join(n if d is None else f'{n}={d}' for n, _, d, _ in self.params)})"
            if self.kind not in ("value", "property")
            else self.name
        )


def comments(source):
    "Line number → the comment that ends it."
    tokens = tokenize.generate_tokens(io.StringIO(source).readline)
    return {
        t.start[0]: t.string.lstrip("# ").strip()
        for t in tokens
        if t.type == tokenize.COMMENT and not t.string.startswith("#|")
    }


def annotation(node):
    "(type, help): Annotated[T, typer.Option(help=…)] carries both."
    if isinstance(node, ast.Subscript) and ast.unparse(node.value) == "Annotated":
        inner, *extra = node.slice.elts
        said = [
            k.value.value
            for call in extra
            if isinstance(call, ast.Call)
            for k in call.keywords
            if k.arg == "help"
        ]
        return ast.unparse(inner), "".join(said[:1])
    return (ast.unparse(node) if node else ""), ""


def function(node, notes):
    "A `def`: its arguments with the comments that end their lines (docments), and what it returns."
    a = node.args
    plain_args = a.posonlyargs + a.args
    given = [None] * (len(plain_args) - len(a.defaults)) + a.defaults
    rows = [(arg.arg, arg, d) for arg, d in zip(plain_args, given)]
    if a.vararg:
        rows.append(("*" + a.vararg.arg, a.vararg, None))
    elif a.kwonlyargs:
        rows.append(("*", None, None))
    rows += [(arg.arg, arg, d) for arg, d in zip(a.kwonlyargs, a.kw_defaults)]
    if a.kwarg:
        rows.append(("**" + a.kwarg.arg, a.kwarg, None))
    last = (
        node.returns.end_lineno
        if node.returns
        else None
        if node.lineno != node.body[0].lineno - 1
        else node.lineno
    )
    ends = [(d or arg).end_lineno if arg else None for _, arg, d in rows]
    params = []
    for i, (name, arg, d) in enumerate(rows):
        if name in ("self", "cls"):
            continue
        kind, said = annotation(arg.annotation) if arg else ("", "")
        mine = ends[i] is not None and ends[i] not in ends[i + 1 :] and ends[i] != last
        params.append(
            (name, kind, ast.unparse(d) if d else None, said or (notes.get(ends[i], "") if mine else ""))
        )
    marks = [ast.unparse(d) for d in node.decorator_list]
    doc = ast.get_docstring(node) or ("" if node.returns or not last else notes.get(last, ""))
    return Entry(
        node.name,
        "property" if "property" in marks else "function",
        params,
        (ast.unparse(node.returns) if node.returns else "", notes.get(last, "") if node.returns else ""),
        doc,
    )


def klass(node, notes):
    "A class: dataclass fields or `__init__` as its parameters, its public methods as members."
    e = Entry(
        node.name, "class", [], ("", ""), ast.get_docstring(node) or "", [ast.unparse(b) for b in node.bases]
    )
    fields = (
        any(ast.unparse(d).startswith("dataclass") for d in node.decorator_list) or "NamedTuple" in e.bases
    )
    for item in node.body:
        if isinstance(item, ast.AnnAssign) and fields:
            name = item.target.id
            e.params.append(
                ("*", "", None, "")
                if name == "_"
                else (
                    name,
                    ast.unparse(item.annotation),
                    ast.unparse(item.value) if item.value else None,
                    notes.get(item.end_lineno, ""),
                )
            )
        elif isinstance(item, ast.FunctionDef):
            f = function(item, notes)
            if item.name == "__init__":
                e.params = f.params
            elif item.name == "__call__" or not item.name.startswith("_"):
                f.name, f.kind = (
                    f"{node.name}.{item.name}" if item.name != "__call__" else f"{node.name}.__call__",
                    "method" if f.kind == "function" else f.kind,
                )
                e.members.append(f)
    return e


def entries(source):
    "The names that a cell defines."
    notes, found = comments(source), []
    for node in ast.parse(source).body:
        if isinstance(node, ast.FunctionDef):
            found.append(function(node, notes))
        elif isinstance(node, ast.ClassDef):
            found.append(klass(node, notes))
        elif isinstance(node, (ast.Assign, ast.AnnAssign)):
            for target in getattr(node, "targets", None) or [node.target]:
                for name in target.elts if isinstance(target, ast.Tuple) else [target]:
                    if isinstance(name, ast.Name):
                        found.append(
                            Entry(
                                name.id,
                                "value",
                                [],
                                ("", ""),
                                notes.get(node.end_lineno, ""),
                                value=short(ast.unparse(node.value)) if node.value else "",
                            )
                        )
    return found


def inherit(e, api):
    "A dataclass has its base's fields too, those it sets again with the new default; and a private base, which has no entry of its own, shows its members here."
    for base in e.bases:
        for b in api.get(base, []):
            inherit(b, api)
            own = {p[0]: p for p in e.params}
            e.params = [
                (p[0], own[p[0]][1], own[p[0]][2], own[p[0]][3] or p[3]) if p[0] in own and p[0] != "*" else p
                for p in b.params
            ] + [p for p in e.params if p[0] not in {q[0] for q in b.params}]
            if base.startswith("_"):
                e.members = [
                    replace(m, name=e.name + m.name.removeprefix(base)) for m in b.members
                ] + e.members
    e.bases = []


# ---- notebooks ------------------------------------------------------------------------------------------------------------------------


@dataclass
class Page:
    "A notebook on its way to becoming a page."

    path: Path
    cells: list
    title: str = ""
    subtitle: str = ""
    module: str = ""
    toc: list = field(default_factory=list)
    sections: list = field(default_factory=list)  # for the search: [anchor, heading, words]
    anchors: set = field(default_factory=set)
    entries: list = field(default_factory=list)
    pictures: int = 0
    colab: str = ""

    stem: str = ""

    @property
    def code(self):
        return "#".join(c["source"] for c in self.cells if c["cell_type"] == "code")

    @property
    def url(self):
        return self.stem + ".html"

    @property
    def label(self):
        "The title as the sidebar has room for it."
        if self.path.stem == "index":
            return "Start"
        t = self.title.removeprefix("Tutorial: ")
        return (t := t if len(t) <= 28 else t.split(", ")[0])[0].upper() + t[1:]

    @property
    def part(self):
        return PARTS.get(self.path.stem[0], "")


def directives(source):
    return dict(
        (line[2:].replace(":", " ", 1).split(None, 1) + [""])[:2]
        for line in source.splitlines()
        if line.startswith("#|") and line[2:].strip()
    )


def code_of(source):
    return re.sub(r"(?m)^#\|.*\n?", "", source).strip("\n")


def short(text, n=90):
    return text if len(text) <= n else text[:n].rstrip() + " …"


def text_of(x):
    return "".join(x) if isinstance(x, list) else x


def load(path):
    "A notebook's cells, with title and subtitle taken out of the first."
    cells = json.loads(path.read_text(encoding="utf8"))["cells"]
    for c in cells:
        c["source"] = text_of(c["source"])
    page = Page(path, cells)
    for c in cells:
        if opens := re.fullmatch(r"\[Open in Colab\]\((\S+)\)", c["source"].strip()):
            page.colab, c["source"] = opens[1], ""  # it stands in the page's head
        words = directives(c["source"]) if c["cell_type"] == "code" else {}
        if "default_exp" in words:
            page.module = words["default_exp"].strip()
    first = cells[0]
    head = re.match(r"#\s+(.+?)\n+(?:>\s*((?:.+\n?(?:>\s*)?)+?)(?:\n\n|\Z))?", first["source"] + "\n\n")
    if first["cell_type"] != "markdown" or not head:
        raise SystemExit(f"{path.name}: the first cell must begin with `# Title` and `> subtitle`")
    page.title, page.subtitle = head[1].strip(), re.sub(r"\n>?\s*", " ", head[2] or "").strip()
    first["source"] = first["source"][head.end() :] if head.end() < len(first["source"]) else ""
    return page


def inline_code(text):
    "Code in a sentence; --size and madry-linf stay on one line."
    return f"<code>{' '.join(whole(esc(w)) if '-' in w and len(w) <= 40 else esc(w) for w in text.split(' '))}</code>"


def whole(markup):
    return f'<span class="whole">{markup}</span>'


def unbroken(markup):
    return re.sub(
        r"\b[A-Z]+-[A-Z0-9]+\b|[(\[][\d.]+(?:–|, )[\d.]+[)\]]", lambda m: whole(m[0]), markup
    )  # S-O, CIFAR-10, [94.1, 94.9]


def breakable(marked):
    "A line of code whose long words may be broken behind a dot, a bracket or a comma, where a phone has no room for them."
    places = {
        word.start() + m.end()
        for word in re.finditer(r"\S{20,}", plain_text(marked))
        for m in re.finditer(r"""[.,=(\[{](?=[^\W\d]|["'(\[{])""", word[0])
    }
    out, seen = "", 0
    for piece in re.findall(r"<[^>]+>|&[^;]+;|.", marked):
        out, seen = out + piece, seen + (piece[0] != "<")
        if piece[0] != "<" and seen in places:
            out += "<wbr>"
    return out


NUMBER = re.compile(r"[-−+~(]*[\d.…–—]|NaN|nan|None|True|False|-?$")


def frame(markup):
    "A DataFrame's table, its columns of words marked: they stand to the left, under their heads, and may be broken; numbers to the right, whole."
    rows = [re.findall(r"(?s)<td>.*?</td>", row) for row in re.findall(r"(?s)<tr.*?</tr>", markup)]
    n = max(map(len, rows), default=0)
    words = [j - n for j in range(n) if any(not NUMBER.match(row[j][4:]) for row in rows if len(row) == n)]

    def mark(m):
        tag = "td" if "<td>" in m[0] else "th"
        cells = re.split(rf"(?=<{tag}>)", m[0])
        for j in words if len(cells) > n and "colspan" not in m[0] else []:
            cells[j] = cells[j].replace(
                f"<{tag}>", f'<{tag} class="{"words" if len(cells[j]) < 44 else "words long"}">', 1
            )
        return "".join(cells)

    head, body, rest = re.sub(r"(?s)<tr.*?</tr>", mark, markup).partition("<tbody>")
    return unbroken(head + body + re.sub(r"<th\b([^>]*)>(?=[^<]{24})", r'<th\1 class="long">', rest))


def counted(members):
    "How many methods and how many properties, in words."
    n = sum(m.kind == "property" for m in members)
    return " and ".join(
        f"{k} {one if k == 1 else many}"
        for k, one, many in ((len(members) - n, "method", "methods"), (n, "property", "properties"))
        if k
    )


class Site:
    "All pages, and the names that prose may link to."

    def __init__(self, out):
        self.out, self.problems, self.characters = out, [], set()
        self.mathml = LatexToMathML(fancy_error=False)
        self.pages = [
            load(p)
            for p in sorted(NBS.glob("*.ipynb"), key=lambda p: (p.stem != "index", p.stem))
            if not p.name.startswith("_")
        ]
        self.by_file = {p.path.name: p for p in self.pages}
        for p in (
            self.pages
        ):  # norms.html of 00_norms.ipynb; of two with the same name, the second keeps its number
            short = re.sub(r"^\d+[a-z]?_", "", p.path.stem)
            p.stem = p.path.stem if any(short == q.stem for q in self.pages) else short
        self.api, self.private = {}, {}
        for page in self.pages:
            self.read_api(page)
        for found in list(self.api.values()):
            for e in found:
                inherit(e, self.api | self.private)
        self.md = (
            MarkdownIt("commonmark", {"html": True, "typographer": False})
            .enable(["table", "strikethrough"])
            .use(
                dollarmath_plugin, allow_labels=False, double_inline=True, renderer=lambda tex, how: esc(tex)
            )
        )
        rules = self.md.renderer.rules
        rules["code_inline"] = lambda tokens, i, *_: self.name_link(tokens[i].content)
        rules["fence"] = lambda tokens, i, *_: self.code(
            tokens[i].content, tokens[i].info.split()[0] if tokens[i].info.strip() else "text"
        )
        rules["code_block"] = lambda tokens, i, *_: self.code(tokens[i].content, "text")
        rules["text"] = lambda tokens, i, *_: unbroken(esc(tokens[i].content))
        rules["table_open"], rules["table_close"] = (
            (lambda *_: '<div class="scroll"><table>'),
            (lambda *_: "</table></div>"),
        )
        self.here = None

    def read_api(self, page):
        "Note every name that the page's cells export, with its line in the library."
        module = ROOT / LIB / f"{page.module}.py"
        lines = {}
        if page.module and module.exists():
            for node in ast.parse(module.read_text(encoding="utf8")).body:
                for name in [
                    getattr(node, "name", None),
                    *(
                        n.id
                        for n in ast.walk(node)
                        if isinstance(n, ast.Name) and isinstance(n.ctx, ast.Store)
                    ),
                ]:
                    lines.setdefault(name, node.lineno)
        for c in page.cells:
            c["entries"] = []
            if c["cell_type"] != "code" or not {"export", "exports", "exporti"} & set(
                directives(c["source"])
            ):
                continue
            for e in entries(code_of(c["source"])):
                e.page, e.module, e.line = page.url, page.module, lines.get(e.name, 1)
                if e.name.startswith("_"):
                    self.private.setdefault(e.name, [e])
                elif all(e.name != old.name for old in page.entries):
                    self.api.setdefault(e.name, []).append(e)
                    page.entries.append(e)
                    c["entries"].append(e)

    def find(self, text):
        "The address of the entry that `text` names, or None."
        m = re.fullmatch(rf"(?:{LIB}\.)?((?:\w+\.)*?)(\w+)((?:\.\w+)?)(?:\(.*\))?", text, re.S)
        if not m:
            return None
        for prefix, name, member in ((m[1], m[2], m[3]), (m[1] + m[2] + ".", m[3][1:], "")):
            found = self.api.get(name, [])
            if prefix:
                found = [e for e in found if prefix.rstrip(".") == e.module]
            mine = [e for e in found if self.here and e.page == self.here.url]
            if len(found := mine or found) == 1:
                e = found[0]
                if member and e.kind != "class":
                    continue
                anchor = e.name + member if any(x.name == e.name + member for x in e.members) else e.name
                return f"{'' if self.here and e.page == self.here.url else e.page}#{anchor}"
        pages = [
            p
            for p in self.pages
            if p.module and text == f"{LIB}.{p.module}" or text == p.path.stem != "index"
        ]
        return pages[0].url if pages else None

    def name_link(self, text):
        to = self.find(text) if not hasattr(builtins, text) else None
        if (
            to
            and self.here
            and to[0] != "#"
            and re.fullmatch("[a-z]+", text)
            and not re.search(rf"import [^#]*?\b{text}\b", self.here.code)
        ):
            to = None  # a word: a column or an argument may have this name too
        return f'<a class="name" href="{to}">{inline_code(text)}</a>' if to else inline_code(text)

    def code(self, source, language="python"):
        try:
            lexer = get_lexer_by_name(language, stripnl=False)
        except ClassNotFound:
            lexer = get_lexer_by_name("text", stripnl=False)
        marked = highlight(source.rstrip("\n") + "\n", lexer, HtmlFormatter(nowrap=True)).rstrip("\n")
        if language == "text":
            return f'<pre class="text">{self.lines(marked)}</pre>\n'
        return f'<pre class="code"><code>{"".join(map(self.line, marked.split(chr(10))))}</code></pre>\n'

    def line(self, marked):
        "One line of code; what is too long for the page goes on below, further in than it began."
        text = plain_text(marked)
        gap = (
            (lambda m: "  ") if len(text) > 86 else lambda m: f'  <span class="gap">{m[0][2:]}</span>'
        )  # a comment is aligned with its neighbours only where there is room
        marked = re.sub(r' {3,}(?=<span class="c1">)', gap, breakable(marked))
        return f'<span class="line" style="--in:{min(20, len(text) - len(text.lstrip(" "))) + 4}">{marked}\n</span>'

    def lines(self, marked):
        "Lines of text: a sentence goes on below, under the column that it began in, and a row of a table that fits the page is kept whole."

        def one(marked):
            text = plain_text(marked := marked.rstrip())
            columns = [m.end() for m in re.finditer(r"^ *• |^ +|\S {2,}(?=\S)", text)]
            row = len(text) <= 88 and (
                re.search(r"\S {2,}\S", text)
                and len(text) - columns[-1] <= 32
                or re.search("^ {8}|[│━┃─]", text)
            )
            return f'<span class="line{" row" if row else ""}" style="--in:{max([c for c in columns if c <= 32], default=2)}">{marked}\n</span>'

        return "".join(map(one, marked.split("\n")))

    # ---- prose ----

    def target(self, href):
        "Where a link of a notebook leads on the site; files of the repository are shown there."
        if re.match(r"[a-z]+:|#|//", href):
            return href
        path, _, anchor = href.partition("#")
        if path.endswith(".ipynb") and "/" not in path:
            if path not in self.by_file:
                self.problems.append(f"{self.here.path.name}: {href} leads nowhere")
                return href
            return self.by_file[path].url + (f"#{slug(anchor)}" if anchor else "")
        file = (NBS / path).resolve()
        if not file.exists():
            self.problems.append(f"{self.here.path.name}: {href} leads nowhere")
            return href
        if file.suffix in (".png", ".svg", ".jpg", ".gif"):
            (self.out / "images").mkdir(exist_ok=True)
            shutil.copy(file, self.out / "images" / file.name)
            return f"images/{file.name}"
        return f"{BLOB}/{file.relative_to(ROOT).as_posix()}" if ROOT in file.parents else href

    def prose(self, source):
        "Markdown to HTML; headings get anchors and enter the page's contents and the search."
        out, tokens = [], self.md.parse(source)
        for t in tokens:
            for child in t.children or []:
                for key in ("href", "src"):
                    if key in child.attrs:
                        child.attrs[key] = self.target(child.attrs[key])
                if child.type == "image":
                    child.attrs["loading"] = "lazy"
        for i, t in enumerate(tokens):
            if t.type != "heading_open":
                continue
            inner = self.md.renderer.render([tokens[i + 1]], self.md.options, {})
            anchor = self.anchor(slug(inner))
            t.attrs["id"] = anchor
            tokens[i + 2].type = "html_block"
            tokens[
                i + 2
            ].content = (
                f' <a class="here" href="#{anchor}" aria-label="Link to this section">#</a></{t.tag}>\n'
            )
            if t.tag in ("h2", "h3"):
                self.here.toc.append((t.tag, anchor, re.sub(r"</?a\b[^>]*>", "", inner)))
            self.here.sections.append([anchor, plain(inner), ""])
        kept = lambda m: whole(m[0]) if len(spoken(m[1])) <= 9 else m[0]  # no comma alone on the next line
        out = re.sub(
            r'<span class="math inline">([^<]*)</span>[,.;:)]+',
            kept,
            self.md.renderer.render(tokens, self.md.options, {}),
        )
        self.words(out)
        return out

    def anchor(self, wish):
        name, n = wish, 2
        while name in self.here.anchors:
            name, n = f"{wish}-{n}", n + 1
        self.here.anchors.add(name)
        return name

    def words(self, markup):
        "Add what a reader could search for."
        text = re.sub(
            r'(?s)<(\w+) class="math.*?</\1>',
            lambda m: spoken(m[0]),
            re.sub(r"(?s)<(h\d)\b.*?</\1>", "", markup),
        )
        self.here.sections[-1][2] += " " + re.sub(r"\s+", " ", plain(text))

    def formulas(self, markup):
        "TeX as MathML. What stands side by side in a block becomes several parts, which a narrow window sets one below the other."

        def mathml(tex, block):
            try:
                made = self.mathml.convert_with_local_state(tex, displaystyle=block)
            except LatexError as e:
                self.problems.append(f"{self.here.path.name}: the formula {tex} cannot be set: {e}")
                return ""
            self.characters.update(plain_text(made))
            return made.replace(' display="block"', ' displaystyle="true"')

        def formula(m):
            tex, number = re.fullmatch(r"(?s)(.*?)(?:\\tag\{(\w+)\})?", html.unescape(m[2]).strip()).groups()
            if m[1] == "inline":
                return f'<span class="math inline">{mathml(tex, False)}</span>'
            parts = "".join(
                f'<span class="part">{mathml(part, True)}</span> '
                for part in re.split(r"\\qquad|\\quad(?=\\\w*[Rr]ightarrow)", tex)
            )
            return f'<div class="math block">{parts}{number and f"<span class=tag>({number})</span>" or ""}</div>'

        return re.sub(r'(?s)<(?:span|div) class="math (inline|block)">(.*?)</(?:span|div)>', formula, markup)

    def inline(self, text):
        return self.md.renderInline(text) if text else ""

    # ---- cells ----

    def entry(self, e, level=3):
        "Name, signature, sentence, and the table of docments."
        shown = esc(e.signature).replace(esc(e.name), f"<b>{esc(e.name)}</b>", 1)
        kind, doc = e.returns
        rows = [p for p in e.params if p[0] != "*"]
        table = (
            self.params(rows + [("returns", kind, None, doc)] * bool(kind or doc))
            if doc or any(p[3] for p in rows)
            else ""
        )
        gives = f'<span class="gives">→ {esc(kind)}</span>' if kind and not table else ""
        source = (
            f'<a class="source" href="{BLOB}/{LIB}/{e.module}.py#L{e.line}">source</a>' if e.module else ""
        )
        members = "".join(self.entry(m, 4) for m in e.members)
        body = f"<p>{self.inline(e.doc)}</p>" if e.doc else ""
        return (
            f'<section class="entry {e.kind}" id="{esc(e.name)}"><div class="head"><span class="kind">{e.kind}</span><code class="signature">{shown}</code>{gives}'
            f'<span class="links"><a class="here" href="#{esc(e.name)}" aria-label="Link to {esc(e.name)}">#</a> {source}</span></div>{body}{table}'
            + (
                f'<details class="members"><summary>{counted(e.members)}</summary>{members}</details>'
                if members
                else ""
            )
            + "</section>\n"
        )

    def params(self, rows):
        "The table of docments, without columns that would be empty."
        head, cells = ("argument", "type", "default", "meaning"), []
        for name, kind, default, doc in rows:
            cells.append(
                (
                    name if name == "returns" else f"<code>{esc(name)}</code>",
                    kind and f"<code>{esc(kind)}</code>",
                    "" if default is None else inline_code(default),
                    self.inline(doc),
                )
            )
        keep = [j for j in range(4) if any(row[j] for row in cells)]
        lines = ["".join(f'<td class="{head[j]}">{row[j]}</td>' for j in keep) for row in cells]
        return f'<div class="scroll"><table class="params"><thead><tr>{"".join(f"<th>{head[j]}</th>" for j in keep)}</tr></thead><tbody>{"".join(f"<tr>{x}</tr>" for x in lines)}</tbody></table></div>'

    def picture(self, data, alt):
        "A PNG output as a file beside the page, at its own size."
        raw = base64.b64decode(text_of(data))
        width, height = struct.unpack(">II", raw[16:24])
        self.here.pictures += 1
        name = f"{self.here.stem}-{self.here.pictures}.png"
        (self.out / "images").mkdir(exist_ok=True)
        (self.out / "images" / name).write_bytes(raw)
        return f'<a href="images/{name}"><img src="images/{name}" width="{width}" height="{height}" alt="{esc(alt)}" loading="lazy"></a>'

    def output(self, o, alt):
        data = o.get("data", {})
        if o["output_type"] == "stream":
            text = COLOURS.sub("", text_of(o["text"])).rstrip()
            return f'<pre class="{o["name"]}">{self.lines(esc(text))}</pre>'
        if "image/png" in data:
            return f"<figure>{self.picture(data['image/png'], alt)}</figure>"
        if "image/svg+xml" in data:
            return f"<figure>{text_of(data['image/svg+xml'])}</figure>"
        if "text/html" in data:
            markup = re.sub(
                r"<img (?![^>]*\balt=)",
                f'<img alt="{esc(alt)}" ',
                re.sub(r"(?s)<style.*?</style>", "", text_of(data["text/html"])),
            )
            return f'<div class="scroll html">{frame(markup)}</div>'
        if "text/markdown" in data:
            return self.prose(text_of(data["text/markdown"]))
        return f"<pre>{self.lines(esc(text_of(data.get('text/plain', '')).rstrip()))}</pre>"

    def cell(self, c):
        "HTML of one cell, empty where nbdev's directives hide it."
        if c["cell_type"] == "markdown":
            return self.prose(c["source"])
        if c["cell_type"] != "code":
            return ""
        words, source = directives(c["source"]), code_of(c["source"])
        if "hide" in words or "default_exp" in words or not source:
            return ""
        exported, shows = (
            {"export", "exports", "exporti"} & set(words),
            words.get("echo", "").strip() != "false",
        )
        if (
            exported
            and not c["entries"]
            and all(isinstance(n, (ast.Import, ast.ImportFrom)) for n in ast.parse(source).body)
        ):
            return ""
        code = self.code(source) if shows else ""
        if exported:
            cards = "".join(self.entry(e) for e in c["entries"] if e.kind != "value" or e.doc)
            marks = "".join(
                f'<span id="{esc(e.name)}"></span>' for e in c["entries"] if e.kind == "value" and not e.doc
            )
            code = f'{marks}{cards}<details class="source" open><summary>Code</summary>{code}</details>'
        alt = words.get("fig-cap") or words.get("fig-alt") or f"Figure: {self.here.sections[-1][1]}"
        shown = [] if words.get("output", "").strip() == "false" else join_streams(c.get("outputs", []))
        outputs = "".join(self.output(o, alt) for o in shown)
        if outputs:
            outputs = f'<div class="output">{outputs}</div>'
        if words.get("code-fold", "").strip() == "true":
            return f'<details class="fold"><summary>{self.inline(words.get("code-summary", "Code").strip(chr(34) + " "))}</summary>{code}{outputs}</details>\n'
        return f'<div class="cell">{code}{outputs}</div>\n' if code or outputs else ""

    # ---- pages ----

    def render(self, page):
        self.here = page
        page.sections.append(["", page.title, page.subtitle])
        page.anchors = {"top"} | {m.name for e in page.entries for m in (e, *e.members)}
        return "".join(self.cell(c) for c in page.cells)

    def write(self):
        self.out.mkdir(parents=True, exist_ok=True)
        env = Environment(
            loader=FileSystemLoader(THEME), autoescape=False, trim_blocks=True, lstrip_blocks=True
        )
        template, sidebar = env.get_template("page.html"), {}
        for p in self.pages:
            sidebar.setdefault(p.part, []).append(p)
        common = dict(
            sidebar=sidebar, repository=CFG["git_url"], project=CFG["title"], plain=plain, inline=self.inline
        )
        bodies = {p.url: self.render(p) for p in self.pages}
        self.here = None
        for i, p in enumerate(self.pages):
            self.here = p
            markup = template.render(
                page=p,
                body=bodies[p.url],
                before=self.pages[i - 1] if i else None,
                after=(self.pages[i + 1 :] or [None])[0],
                notebook=f"{BLOB}/{CFG['nbs_path']}/{p.path.name}",
                **common,
            )
            (self.out / p.url).write_text(self.formulas(markup), encoding="utf8")
        self.here = None
        modules = [p for p in self.pages if p.entries]
        (self.out / "api.html").write_text(
            template.render(page=None, modules=modules, **common), encoding="utf8"
        )
        assets = self.out / "assets"
        for name in ("style.css", "site.js"):
            assets.mkdir(exist_ok=True)
            shutil.copy(THEME / name, assets / name)
        names = [
            [m.name, m.kind, f"{p.url}#{m.name}", p.module, m.doc]
            for p in modules
            for e in p.entries
            for m in (e, *e.members)
        ]
        texts = [
            [p.url + (f"#{a}" if a else ""), plain(self.inline(p.title)), h, t.strip()]
            for p in self.pages
            for a, h, t in p.sections
        ]
        (assets / "search.js").write_text(
            f"window.SEARCH = {json.dumps({'names': names, 'texts': texts}, ensure_ascii=False, separators=(',', ':'))};\n",
            encoding="utf8",
        )
        write_font(assets / "math.woff", self.characters)
        (self.out / ".nojekyll").touch()
        if self.problems:
            raise SystemExit("\n".join(self.problems))


def join_streams(outputs):
    "Consecutive pieces of the same stream are one output."
    joined = []
    for o in outputs:
        if o["output_type"] == "stream" and joined and joined[-1].get("name") == o["name"]:
            joined[-1]["text"] += text_of(o["text"])
        else:
            joined.append({**o, "text": text_of(o["text"])} if o["output_type"] == "stream" else o)
    return joined


def write_font(file, characters):
    "The mathematical font with these characters alone, their italics and their larger forms."
    letters = {
        chr(c): unicodedata.decomposition(chr(c)).split()[-1:]
        for c in (0x210E, *range(0x1D434, 0x1D468), *range(0x1D6E2, 0x1D71C))
    }  # 𝑥: what a browser writes for x
    italics = {italic for italic, of in letters.items() if of and chr(int(of[0], 16)) in characters}
    options = subset.Options(flavor="woff", layout_features=["*"], name_IDs=["*"])
    with subset.load_font(FONT, options, lazy=False) as font:
        sizes, root = font["MATH"].table.MathVariants, font.getBestCmap()[ord("√")]
        roots = sizes.VertGlyphConstruction[sizes.VertGlyphCoverage.glyphs.index(root)]
        roots.MathGlyphVariantRecord, roots.VariantCount, roots.GlyphAssembly = (
            roots.MathGlyphVariantRecord[:2],
            2,
            None,
        )  # Chromium leaves room for the widest root behind every root
        cut = subset.Subsetter(options)
        cut.populate(unicodes=map(ord, {"√"} | characters | italics))
        cut.subset(font)
        subset.save_font(font, file, options)


def build(out):
    "Write the site into the folder `out`, which is emptied first."
    if out.exists() and any(out.iterdir()) and not (out / ".nojekyll").exists():
        raise SystemExit(f"{out} holds something else: choose an empty folder")
    shutil.rmtree(out, ignore_errors=True)
    site = Site(out)
    site.write()
    return site


if __name__ == "__main__":
    options = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    options.add_argument("--out", type=Path, default=ROOT / CFG["doc_path"], help="the folder to write")
    out = options.parse_args().out
    print(f"{len(build(out).pages)} notebooks → {out}/index.html")
