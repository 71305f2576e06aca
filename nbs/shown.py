"""What the notebooks of the results share: stored results, and how they are drawn; no part of the library."""

import io
import json
from html import escape
from so_attack.columns import repo_results


def read_result(name):
    "What results/NAME.json holds; None, and it says so, where nothing is stored."
    path = repo_results() / f"{name}.json"
    if path.exists():
        return json.loads(path.read_text(encoding="utf-8"))
    print(f"not run: results/{name}.json is not there")


def light_png(fig, dpi):
    "The figure as PNG in 128 colours, which are enough."
    from PIL import Image

    raw, png = io.BytesIO(), io.BytesIO()
    fig.savefig(raw, format="png", dpi=dpi)
    Image.open(raw).convert("RGB").quantize(128).save(png, "PNG", optimize=True)
    return png.getvalue()


def draw_digit(ax, image, title, size=9, **style):
    "One image, its first channel, without an axis's numbers."
    ax.imshow(image[0], cmap="gray_r", vmin=0, vmax=1)
    ax.set_title(title, fontsize=size, **{"pad": 2} | style)
    ax.set(xticks=[], yticks=[])


def draw_shares(ax, x, estimates, style, **kw):
    "A curve of accuracies in percent, with their 95 % intervals shaded."
    (line,) = ax.plot(x, [100 * e.accuracy for e in estimates], style, ms=4, **kw)
    shade_intervals(ax, x, estimates, line.get_color())


def shade_intervals(ax, x, estimates, color, alpha=0.2):
    ax.fill_between(
        x, [100 * e.low for e in estimates], [100 * e.high for e in estimates], alpha=alpha, color=color
    )


VERDICT_COLORS = {  # light enough for black letters, and apart for the colour-blind
    "holds": "#a6cee3",
    "in part": "#ffe699",
    "fails": "#f4a582",
    "cannot be said": "#dddddd",
    "not run": "#ffffff",
}


def colored_table(rows):
    "Rows (dicts with a `verdict`) as an HTML table, the verdict on its colour."
    from IPython.display import HTML

    style = "text-align:left"
    lines = ["".join(f'<th style="{style}">{escape(head)}</th>' for head in rows[0])]
    for row in rows:
        cells = []
        for head, text in row.items():
            color = f";background:{VERDICT_COLORS[text]};color:#111" if head == "verdict" else ""
            cells.append(f'<td style="{style}{color}">{escape(text)}</td>')
        lines.append("".join(cells))
    return HTML(f"<table>{''.join(f'<tr>{line}</tr>' for line in lines)}</table>")
