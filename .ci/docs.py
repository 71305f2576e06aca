"""The documentation site, from the notebooks with their stored outputs.

    python .ci/docs.py                 write _docs/; open _docs/index.html
    python .ci/docs.py --out DIR       write into another folder

Nothing is executed, and no page loads anything from another server. Formulas become MathML, which browsers
set themselves: no script, and of the font only the characters that occur.
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
# a mathematical font on the package index; its licence travels in it
FONT = Path(find_spec("ziamath").origin).parent / "fonts" / "STIXTwoMath-Regular.ttf"
COLOURS = re.compile(r"\x1b\[[0-9;?]*[a-zA-Z]")  # what a terminal takes for colours
# by the first digit of a notebook's number
WINGS = {
    "0": "The attack",
    "1": "The paper",
    "2": "Models and data",
    "3": "The audit",
    "4": "The results",
    "5": "Three norms",
    "6": "Tutorials",
}
EXPORTS = {"export", "exports", "exporti"}
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


# ---- what the library exports, read from the source ----


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
    own_init: bool = False  # of a class: it has an __init__ of its own, not that of its base

    @property
    def signature(self):
        if self.kind in ("value", "property"):
            return self.name
        given = [name if default is None else f"{name}={default}" for name, _, default, _ in self.params]
        return f"{self.name}({', '.join(given)})"


def comments(source):
    "Line number → the comment that ends it."
    found = {}
    for token in tokenize.generate_tokens(io.StringIO(source).readline):
        if token.type == tokenize.COMMENT and not token.string.startswith("#|"):
            found[token.start[0]] = token.string.lstrip("# ").strip()
    return found


def text_or_none(node):
    return ast.unparse(node) if node else None


def typed(node):
    "An annotation as text; of Annotated[T, …] the T."
    if isinstance(node, ast.Subscript) and ast.unparse(node.value) == "Annotated":
        return ast.unparse(node.slice.elts[0])
    return text_or_none(node) or ""


def helps(node):
    "Name → help text of a command's options, from its `_explained` table or from their Annotated."
    found = {}
    for decorator in node.decorator_list:
        if isinstance(decorator, ast.Call) and ast.unparse(decorator.func) == "_explained":
            found |= {k.arg: k.value.value for k in decorator.keywords}
    for arg in node.args.args:
        for part in ast.walk(arg.annotation) if arg.annotation else ():
            if isinstance(part, ast.keyword) and part.arg == "help":
                found[arg.arg] = part.value.value
    return found


def arguments(node):
    "(name, argument, default) of each argument of a `def`, in order; the argument is None for a bare star."
    a = node.args
    positional = a.posonlyargs + a.args
    defaults = [None] * (len(positional) - len(a.defaults)) + a.defaults
    rows = [(arg.arg, arg, default) for arg, default in zip(positional, defaults)]
    if a.vararg:
        rows.append(("*" + a.vararg.arg, a.vararg, None))
    elif a.kwonlyargs:
        rows.append(("*", None, None))
    rows += [(arg.arg, arg, default) for arg, default in zip(a.kwonlyargs, a.kw_defaults)]
    if a.kwarg:
        rows.append(("**" + a.kwarg.arg, a.kwarg, None))
    return rows


def function(node, notes):
    """A `def`: its arguments with the comments that end their lines (docments), and what it returns.

    A comment belongs to the argument that has the line for itself. The comment that ends the head is about
    what is returned; in a head of one line without a type, it is the docstring if there is no other."""
    head = node.returns.end_lineno if node.returns else node.body[0].lineno - 1
    rows, told, params = arguments(node), helps(node), []
    lines = [(default or arg).end_lineno if arg else None for _, arg, default in rows]
    for (name, arg, default), line in zip(rows, lines):
        if name in ("self", "cls"):
            continue
        alone = lines.count(line) == 1 and line != head
        said = told.get(name) or (notes.get(line, "") if alone else "")
        params.append((name, typed(arg.annotation) if arg else "", text_or_none(default), said))
    kind = "property" if "property" in map(ast.unparse, node.decorator_list) else "function"
    said = notes.get(head, "") if head >= node.lineno else ""
    doc = ast.get_docstring(node) or ""
    if head == node.lineno and not node.returns:
        doc, said = doc or said, ""
    return Entry(node.name, kind, params, (text_or_none(node.returns) or "", said), doc)


def field_of(item, notes):
    "A field of a dataclass: (name, type, default, doc)."
    if item.target.id == "_":
        return "*", "", None, ""
    kind, default = ast.unparse(item.annotation), text_or_none(item.value)
    return item.target.id, kind, default, notes.get(item.end_lineno, "")


def klass(node, notes):
    "A class: dataclass fields or `__init__` as its parameters, its public methods as members."
    doc, bases = ast.get_docstring(node) or "", [ast.unparse(b) for b in node.bases]
    e = Entry(node.name, "class", [], ("", ""), doc, bases)
    marks = [ast.unparse(d) for d in node.decorator_list]
    has_fields = any(mark.startswith("dataclass") for mark in marks) or "NamedTuple" in bases
    for item in node.body:
        if isinstance(item, ast.AnnAssign) and has_fields:
            e.params.append(field_of(item, notes))
        elif isinstance(item, ast.FunctionDef):
            f = function(item, notes)
            if item.name == "__init__":
                e.params, e.own_init = f.params, True
            elif item.name == "__call__" or not item.name.startswith("_"):
                f.name = f"{node.name}.{item.name}"
                f.kind = "method" if f.kind == "function" else f.kind
                e.members.append(f)
    return e


def values(node, notes):
    "The names that an assignment sets."
    text = short(ast.unparse(node.value)) if node.value else ""
    said = notes.get(node.end_lineno, "")
    found = []
    for target in node.targets if isinstance(node, ast.Assign) else [node.target]:
        names = target.elts if isinstance(target, ast.Tuple) else [target]
        for name in names:
            if isinstance(name, ast.Name):
                found.append(Entry(name.id, "value", [], ("", ""), said, value=text))
    return found


def entries(source):
    "The names that a cell defines."
    notes, found = comments(source), []
    for node in ast.parse(source).body:
        if isinstance(node, ast.FunctionDef):
            found.append(function(node, notes))
        elif isinstance(node, ast.ClassDef):
            found.append(klass(node, notes))
        elif isinstance(node, (ast.Assign, ast.AnnAssign)):
            found += values(node, notes)
    return found


def inherited(param, own):
    "A field of the base: set again, it has the new type and default, and its own comment where there is one."
    name, _, _, said = param
    if name == "*" or name not in own:
        return param
    _, kind, default, new = own[name]
    return name, kind, default, new or said


def inherit(e, api):
    """A class without an __init__ of its own has its base's parameters, a dataclass its base's fields too.

    A private base has no entry of its own, so its members are shown here."""
    for base in e.bases:
        for b in api.get(base, []):
            inherit(b, api)
            own, known = {p[0]: p for p in e.params}, {p[0] for p in b.params}
            if not e.own_init:
                e.params = [inherited(p, own) for p in b.params] + [p for p in e.params if p[0] not in known]
            if base.startswith("_"):
                theirs = [replace(m, name=e.name + m.name.removeprefix(base)) for m in b.members]
                e.members = theirs + e.members
    e.bases = []


# ---- notebooks ----


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
        title = self.title.removeprefix("Tutorial: ")
        if len(title) > 28:
            title = title.split(", ")[0]
        return title[0].upper() + title[1:]

    @property
    def wing(self):
        return WINGS.get(self.path.stem[0], "")


def directives(source):
    "Name → value of the `#|` lines of a cell."
    found = {}
    for line in source.splitlines():
        if line.startswith("#|") and line[2:].strip():
            name, *value = line[2:].replace(":", " ", 1).split(None, 1)
            found[name] = "".join(value)
    return found


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
        opens = re.fullmatch(r"\[Open in Colab\]\((\S+)\)", c["source"].strip())
        if opens:
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


def whole(markup):
    return f'<span class="whole">{markup}</span>'


def inline_code(text):
    "Code in a sentence; --size and madry-linf stay on one line."
    words = [whole(esc(w)) if "-" in w and len(w) <= 40 else esc(w) for w in text.split(" ")]
    return f"<code>{' '.join(words)}</code>"


def unbroken(markup):
    "S-O, CIFAR-10 and [94.1, 94.9] stay on one line."
    names, intervals = r"\b[A-Z]+-[A-Z0-9]+\b", r"[(\[][\d.]+(?:–|, )[\d.]+[)\]]"
    return re.sub(f"{names}|{intervals}", lambda m: whole(m[0]), markup)


def breakable(marked):
    """A line of code whose long words may be broken, where a phone has no room for them.

    They break behind a dot, a bracket or a comma."""
    places = set()
    for word in re.finditer(r"\S{20,}", plain_text(marked)):
        for m in re.finditer(r"""[.,=(\[{](?=[^\W\d]|["'(\[{])""", word[0]):
            places.add(word.start() + m.end())
    out, seen = "", 0
    for piece in re.findall(r"<[^>]+>|&[^;]+;|.", marked):
        out += piece
        if piece[0] != "<":
            seen += 1
            out += "<wbr>" if seen in places else ""
    return out


NUMBER = re.compile(r"[-−+~(]*[\d.…–—]|NaN|nan|None|True|False|-?$")


def frame(markup):
    """A DataFrame's table, its columns of words marked.

    Words stand to the left, under their heads, and may be broken; numbers stand to the right, whole."""
    rows = [re.findall(r"(?s)<td>.*?</td>", row) for row in re.findall(r"(?s)<tr.*?</tr>", markup)]
    n = max(map(len, rows), default=0)
    rows = [row for row in rows if len(row) == n]
    words = [j - n for j in range(n) if any(not NUMBER.match(row[j][4:]) for row in rows)]

    def mark(m):
        tag = "td" if "<td>" in m[0] else "th"
        cells = re.split(rf"(?=<{tag}>)", m[0])
        if len(cells) <= n or "colspan" in m[0]:
            return m[0]
        for j in words:
            kind = "words" if len(cells[j]) < 44 else "words long"
            cells[j] = cells[j].replace(f"<{tag}>", f'<{tag} class="{kind}">', 1)
        return "".join(cells)

    head, body, rest = re.sub(r"(?s)<tr.*?</tr>", mark, markup).partition("<tbody>")
    return unbroken(head + body + re.sub(r"<th\b([^>]*)>(?=[^<]{24})", r'<th\1 class="long">', rest))


def counted(members):
    "How many methods and how many properties, in words."
    properties = sum(m.kind == "property" for m in members)
    methods, words = len(members) - properties, []
    if methods:
        words.append("1 method" if methods == 1 else f"{methods} methods")
    if properties:
        words.append("1 property" if properties == 1 else f"{properties} properties")
    return " and ".join(words)


def only_imports(source):
    return all(isinstance(n, (ast.Import, ast.ImportFrom)) for n in ast.parse(source).body)


def lines_of(module):
    "Name → the line of a module that defines it; empty where there is no module."
    found = {}
    if not module.exists():
        return found
    for node in ast.parse(module.read_text(encoding="utf8")).body:
        if hasattr(node, "name"):
            found.setdefault(node.name, node.lineno)
        for n in ast.walk(node):
            if isinstance(n, ast.Name) and isinstance(n.ctx, ast.Store):
                found.setdefault(n.id, node.lineno)
    return found


class Site:
    "All pages, and the names that prose may link to."

    def __init__(self, out):
        self.out, self.problems, self.characters = out, [], set()
        self.mathml = LatexToMathML(fancy_error=False)
        paths = [p for p in NBS.glob("*.ipynb") if not p.name.startswith("_")]
        self.pages = [load(p) for p in sorted(paths, key=lambda p: (p.stem != "index", p.stem))]
        self.by_file = {p.path.name: p for p in self.pages}
        for p in self.pages:
            # norms.html of 00_norms.ipynb; of two with the same name, the second keeps its number
            name = re.sub(r"^\d+[a-z]?_", "", p.path.stem)
            p.stem = p.path.stem if any(name == q.stem for q in self.pages) else name
        self.api, self.private = {}, {}
        for page in self.pages:
            self.read_api(page)
        for found in list(self.api.values()):
            for e in found:
                inherit(e, self.api | self.private)
        self.md = self.markdown()
        self.here = None

    def markdown(self):
        "Markdown with tables and formulas, whose code, text and tables become ours."
        md = MarkdownIt("commonmark", {"html": True, "typographer": False})
        md.enable(["table", "strikethrough"])
        plugin = {"allow_labels": False, "double_inline": True}
        md.use(dollarmath_plugin, renderer=lambda tex, how: esc(tex), **plugin)

        def fence(tokens, i, *_):
            language = tokens[i].info.split()[0] if tokens[i].info.strip() else "text"
            return self.code(tokens[i].content, language)

        md.renderer.rules |= {
            "code_inline": lambda tokens, i, *_: self.name_link(tokens[i].content),
            "fence": fence,
            "code_block": lambda tokens, i, *_: self.code(tokens[i].content, "text"),
            "text": lambda tokens, i, *_: unbroken(esc(tokens[i].content)),
            "table_open": lambda *_: '<div class="scroll"><table>',
            "table_close": lambda *_: "</table></div>",
        }
        return md

    def read_api(self, page):
        "Note every name that the page's cells export, with its line in the library."
        lines = lines_of(ROOT / LIB / f"{page.module}.py")
        for c in page.cells:
            c["entries"] = []
            if c["cell_type"] != "code" or not EXPORTS & set(directives(c["source"])):
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
        here = self.here.url if self.here else None
        for prefix, name, member in ((m[1], m[2], m[3]), (m[1] + m[2] + ".", m[3][1:], "")):
            found = self.api.get(name, [])
            if prefix:
                found = [e for e in found if prefix.rstrip(".") == e.module]
            found = [e for e in found if e.page == here] or found
            if len(found) != 1 or (member and found[0].kind != "class"):
                continue
            e = found[0]
            has_it = any(x.name == e.name + member for x in e.members)
            return ("" if e.page == here else e.page) + "#" + (e.name + member if has_it else e.name)
        for p in self.pages:
            if (p.module and text == f"{LIB}.{p.module}") or text == p.path.stem != "index":
                return p.url
        return None

    def name_link(self, text):
        to = None if hasattr(builtins, text) else self.find(text)
        is_word = re.fullmatch("[a-z]+", text)  # a column or an argument may have this name too
        if to and self.here and to[0] != "#" and is_word:
            imported = re.search(rf"import [^#]*?\b{text}\b", self.here.code)
            to = to if imported else None
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
        text, room = plain_text(marked), len(plain_text(marked)) <= 86

        def gap(m):  # a comment is aligned with its neighbours only where there is room
            return f'  <span class="gap">{m[0][2:]}</span>' if room else "  "

        marked = re.sub(r' {3,}(?=<span class="c1">)', gap, breakable(marked))
        indent = min(20, len(text) - len(text.lstrip(" "))) + 4
        return f'<span class="line" style="--in:{indent}">{marked}\n</span>'

    def lines(self, marked):
        """Lines of text.

        A sentence goes on below, under the column that it began in. A row of a table that fits the page is
        kept whole."""

        def is_row(text, columns):
            if len(text) > 88:
                return False
            has_columns = re.search(r"\S {2,}\S", text) and len(text) - columns[-1] <= 32
            return has_columns or re.search("^ {8}|[│━┃─]", text)

        def one(marked):
            marked = marked.rstrip()
            text = plain_text(marked)
            columns = [m.end() for m in re.finditer(r"^ *• |^ +|\S {2,}(?=\S)", text)]
            indent = max([c for c in columns if c <= 32], default=2)
            kind = "line row" if is_row(text, columns) else "line"
            return f'<span class="{kind}" style="--in:{indent}">{marked}\n</span>'

        return "".join(map(one, marked.split("\n")))

    # ---- prose ----

    def target(self, href):
        "Where a link of a notebook leads on the site; files of the repository are shown there."
        if re.match(r"[a-z]+:|#|//", href):
            return href
        path, _, anchor = href.partition("#")
        if path in self.by_file:
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
        tokens = self.md.parse(source)
        for t in tokens:
            for child in t.children or []:
                self.lead(child.attrs)
                if child.type == "image":
                    child.attrs["loading"] = "lazy"
        for opening, text, closing in zip(tokens, tokens[1:], tokens[2:]):
            if opening.type == "heading_open":
                self.heading(opening, text, closing)

        def kept(m):  # no comma alone on the next line
            return whole(m[0]) if len(spoken(m[1])) <= 9 else m[0]

        out = self.md.renderer.render(tokens, self.md.options, {})
        out = re.sub(r'<span class="math inline">([^<]*)</span>[,.;:)]+', kept, out)
        self.words(out)
        return out

    def lead(self, attributes):
        "Links and pictures lead to where they are on the site."
        for key in {"href", "src"} & attributes.keys():
            attributes[key] = self.target(attributes[key])

    def heading(self, opening, text, closing):
        "The three tokens of a heading: it gets an anchor, and enters the page's contents and the search."
        inner = self.md.renderer.render([text], self.md.options, {})
        anchor = self.anchor(slug(inner))
        opening.attrs["id"] = anchor
        link = f'<a class="here" href="#{anchor}" aria-label="Link to this section">#</a>'
        closing.type, closing.content = "html_block", f" {link}</{opening.tag}>\n"
        if opening.tag in ("h2", "h3"):
            self.here.toc.append((opening.tag, anchor, re.sub(r"</?a\b[^>]*>", "", inner)))
        self.here.sections.append([anchor, plain(inner), ""])

    def anchor(self, wish):
        name, n = wish, 2
        while name in self.here.anchors:
            name, n = f"{wish}-{n}", n + 1
        self.here.anchors.add(name)
        return name

    def words(self, markup):
        "Add what a reader could search for."
        text = re.sub(r"(?s)<(h\d)\b.*?</\1>", "", markup)
        text = re.sub(r'(?s)<(\w+) class="math.*?</\1>', lambda m: spoken(m[0]), text)
        self.here.sections[-1][2] += " " + re.sub(r"\s+", " ", plain(text))

    def mathml_of(self, tex, block):
        try:
            made = self.mathml.convert_with_local_state(tex, displaystyle=block)
        except LatexError as e:
            self.problems.append(f"{self.here.path.name}: the formula {tex} cannot be set: {e}")
            return ""
        self.characters.update(plain_text(made))
        return made.replace(' display="block"', ' displaystyle="true"')

    def formulas(self, markup):
        """TeX as MathML.

        What stands side by side in a block becomes several parts, which a narrow window sets one below the
        other."""

        def formula(m):
            tex, number = re.fullmatch(r"(?s)(.*?)(?:\\tag\{(\w+)\})?", html.unescape(m[2]).strip()).groups()
            if m[1] == "inline":
                return f'<span class="math inline">{self.mathml_of(tex, False)}</span>'
            parts = ""
            for part in re.split(r"\\qquad|\\quad(?=\\\w*[Rr]ightarrow)", tex):
                parts += f'<span class="part">{self.mathml_of(part, True)}</span> '
            tag = f"<span class=tag>({number})</span>" if number else ""
            return f'<div class="math block">{parts}{tag}</div>'

        return re.sub(r'(?s)<(?:span|div) class="math (inline|block)">(.*?)</(?:span|div)>', formula, markup)

    def inline(self, text):
        return self.md.renderInline(text) if text else ""

    # ---- cells ----

    def entry(self, e):
        "Name, signature, sentence, and the table of docments."
        shown = esc(e.signature).replace(esc(e.name), f"<b>{esc(e.name)}</b>", 1)
        kind, doc = e.returns
        rows, table = [p for p in e.params if p[0] != "*"], ""
        if doc or any(p[3] for p in rows):
            returns = [("returns", kind, None, doc)] if kind or doc else []
            table = self.params(rows + returns)
        gives = f'<span class="gives">→ {esc(kind)}</span>' if kind and not table else ""
        address, anchor = f"{BLOB}/{LIB}/{e.module}.py#L{e.line}", esc(e.name)
        source = f'<a class="source" href="{address}">source</a>' if e.module else ""
        link = f'<a class="here" href="#{anchor}" aria-label="Link to {anchor}">#</a>'
        body = f"<p>{self.inline(e.doc)}</p>" if e.doc else ""
        return (
            f'<section class="entry {e.kind}" id="{anchor}"><div class="head">'
            f'<span class="kind">{e.kind}</span><code class="signature">{shown}</code>{gives}'
            f'<span class="links">{link} {source}</span></div>{body}{table}{self.members(e)}</section>\n'
        )

    def members(self, e):
        if not e.members:
            return ""
        shown = "".join(map(self.entry, e.members))
        return f'<details class="members"><summary>{counted(e.members)}</summary>{shown}</details>'

    def params(self, rows):
        "The table of docments, without columns that would be empty."
        head, cells = ("argument", "type", "default", "meaning"), []
        for name, kind, default, doc in rows:
            argument = name if name == "returns" else f"<code>{esc(name)}</code>"
            code = kind and f"<code>{esc(kind)}</code>"
            cells.append((argument, code, inline_code(default) if default else "", self.inline(doc)))
        keep = [j for j in range(4) if any(row[j] for row in cells)]
        heads = "".join(f"<th>{head[j]}</th>" for j in keep)
        lines = ["".join(f'<td class="{head[j]}">{row[j]}</td>' for j in keep) for row in cells]
        body = "".join(f"<tr>{line}</tr>" for line in lines)
        table = f'<table class="params"><thead><tr>{heads}</tr></thead><tbody>{body}</tbody></table>'
        return f'<div class="scroll">{table}</div>'

    def picture(self, data, alt):
        "A PNG output as a file beside the page, at its own size."
        raw = base64.b64decode(text_of(data))
        width, height = struct.unpack(">II", raw[16:24])
        self.here.pictures += 1
        name = f"{self.here.stem}-{self.here.pictures}.png"
        (self.out / "images").mkdir(exist_ok=True)
        (self.out / "images" / name).write_bytes(raw)
        size = f'width="{width}" height="{height}"'
        picture = f'<img src="images/{name}" {size} alt="{esc(alt)}" loading="lazy">'
        return f'<a href="images/{name}">{picture}</a>'

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
            markup = re.sub(r"(?s)<style.*?</style>", "", text_of(data["text/html"]))
            markup = re.sub(r"<img (?![^>]*\balt=)", f'<img alt="{esc(alt)}" ', markup)
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
        code = "" if words.get("echo", "").strip() == "false" else self.code(source)
        if EXPORTS & set(words):
            if not c["entries"] and only_imports(source):
                return ""
            code = self.exported(c["entries"], code)
        outputs = self.outputs(c, words)
        if words.get("code-fold", "").strip() == "true":
            summary = self.inline(words.get("code-summary", "Code").strip('" '))
            return f'<details class="fold"><summary>{summary}</summary>{code}{outputs}</details>\n'
        return f'<div class="cell">{code}{outputs}</div>\n' if code or outputs else ""

    def exported(self, found, code):
        "The entries of a cell, and its code, which can be folded."
        quiet = [e for e in found if e.kind == "value" and not e.doc]
        marks = "".join(f'<span id="{esc(e.name)}"></span>' for e in quiet)
        cards = "".join(self.entry(e) for e in found if e not in quiet)
        folded = f'<details class="source" open><summary>Code</summary>{code}</details>'
        return marks + cards + folded

    def outputs(self, c, words):
        if words.get("output", "").strip() == "false":
            return ""
        alt = words.get("fig-cap") or words.get("fig-alt") or f"Figure: {self.here.sections[-1][1]}"
        shown = "".join(self.output(o, alt) for o in join_streams(c.get("outputs", [])))
        return f'<div class="output">{shown}</div>' if shown else ""

    # ---- pages ----

    def render(self, page):
        self.here = page
        page.sections.append(["", page.title, page.subtitle])
        page.anchors = {"top"} | {m.name for e in page.entries for m in (e, *e.members)}
        return "".join(self.cell(c) for c in page.cells)

    def write(self):
        self.out.mkdir(parents=True, exist_ok=True)
        self.write_pages()
        assets = self.out / "assets"
        assets.mkdir(exist_ok=True)
        for name in ("style.css", "site.js"):
            shutil.copy(THEME / name, assets / name)
        found = json.dumps(self.searchable(), ensure_ascii=False, separators=(",", ":"))
        (assets / "search.js").write_text(f"window.SEARCH = {found};\n", encoding="utf8")
        write_font(assets / "math.woff", self.characters)
        (self.out / ".nojekyll").touch()
        if self.problems:
            raise SystemExit("\n".join(self.problems))

    def write_pages(self):
        loader = FileSystemLoader(THEME)
        env = Environment(loader=loader, autoescape=False, trim_blocks=True, lstrip_blocks=True)
        template, sidebar = env.get_template("page.html"), {}
        for p in self.pages:
            sidebar.setdefault(p.wing, []).append(p)
        common = {"sidebar": sidebar, "repository": CFG["git_url"], "project": CFG["title"]}
        common |= {"plain": plain, "inline": self.inline}
        bodies = {p.url: self.render(p) for p in self.pages}
        neighbours = zip([None, *self.pages], self.pages, [*self.pages[1:], None])
        for before, p, after in neighbours:
            self.here = p
            notebook = f"{BLOB}/{CFG['nbs_path']}/{p.path.name}"
            beside = {"before": before, "after": after, "notebook": notebook}
            markup = template.render(page=p, body=bodies[p.url], **beside, **common)
            (self.out / p.url).write_text(self.formulas(markup), encoding="utf8")
        self.here = None
        modules = [p for p in self.pages if p.entries]
        index = template.render(page=None, modules=modules, **common)
        (self.out / "api.html").write_text(index, encoding="utf8")

    def searchable(self):
        "Names and texts for the search."
        names, texts = [], []
        for p in self.pages:
            for e in p.entries:
                for m in (e, *e.members):
                    names.append([m.name, m.kind, f"{p.url}#{m.name}", p.module, m.doc])
            title = plain(self.inline(p.title))
            for anchor, heading, words in p.sections:
                texts.append([p.url + (f"#{anchor}" if anchor else ""), title, heading, words.strip()])
        return {"names": names, "texts": texts}


def join_streams(outputs):
    "Consecutive pieces of the same stream are one output."
    joined = []
    for o in outputs:
        if o["output_type"] != "stream":
            joined.append(o)
        elif joined and joined[-1].get("name") == o["name"]:
            joined[-1]["text"] += text_of(o["text"])
        else:
            joined.append({**o, "text": text_of(o["text"])})
    return joined


def italic_letters(characters):
    "The italics that a browser writes for these letters: 𝑥 for x."
    found = set()
    for code in (0x210E, *range(0x1D434, 0x1D468), *range(0x1D6E2, 0x1D71C)):
        upright = unicodedata.decomposition(chr(code)).split()[-1:]
        if upright and chr(int(upright[0], 16)) in characters:
            found.add(chr(code))
    return found


def write_font(file, characters):
    "The mathematical font with these characters alone, their italics and their larger forms."
    options = subset.Options(flavor="woff", layout_features=["*"], name_IDs=["*"])
    with subset.load_font(FONT, options, lazy=False) as font:
        sizes, root = font["MATH"].table.MathVariants, font.getBestCmap()[ord("√")]
        roots = sizes.VertGlyphConstruction[sizes.VertGlyphCoverage.glyphs.index(root)]
        # Chromium leaves room for the widest root behind every root
        roots.MathGlyphVariantRecord = roots.MathGlyphVariantRecord[:2]
        roots.VariantCount, roots.GlyphAssembly = 2, None
        cut = subset.Subsetter(options)
        cut.populate(unicodes=map(ord, {"√"} | characters | italic_letters(characters)))
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
