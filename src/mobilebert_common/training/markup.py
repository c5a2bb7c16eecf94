"""Build HTML from functions: tags that escape their content, tables, and the page around them."""

import html
from collections.abc import Iterable, Sequence

from ..errors import printable

SPACES = "\n\t\u00a0\u3000"  # ordinary in text, although `printable` escapes them for a terminal


class Html(str):
    """Markup. Anything else is escaped where it becomes the content of a tag, even an f-string of markup."""

    __slots__ = ()


def tag(name: str, *content: object, **attributes: object) -> Html:
    """An element with its content escaped.

    Args:
        content: text, numbers, or elements.
        attributes: class_ stands for class, aria_label for aria-label; None leaves an attribute out.
    """
    start = "".join(
        f' {key.rstrip("_").replace("_", "-")}="{escaped(value)}"' for key, value in attributes.items() if value is not None
    )
    return Html(f"<{name}{start}>{join(content)}</{name}>")


def join(parts: Iterable[object], separator: str = "") -> Html:
    """Concatenate text and elements."""
    return Html(html.escape(separator).join(map(escaped, parts)))


def escaped(value: object) -> Html:
    """Markup unchanged, and any other value as text, with HTML's special characters, control and format characters escaped."""
    return value if isinstance(value, Html) else Html(html.escape(printable(str(value), keep=SPACES)))


def table(caption: str, head: Sequence[object], rows: Iterable[Sequence[object]], kind: str | None = None) -> Html:
    """A table that scrolls if the page is too narrow; the first cell of each row is the row's header.

    Args:
        kind: the class of the table: "words" or "pairs" if other columns than the first are words, too; the rest are numbers.
    """
    body = [tag("tr", tag("th", row[0], scope="row"), *(tag("td", cell) for cell in row[1:])) for row in rows]
    return scrolling(
        caption,
        tag(
            "table",
            tag("caption", caption),
            tag("thead", tag("tr", *(tag("th", cell, scope="col") for cell in head))),
            tag("tbody", *body),
            class_=kind,
        ),
    )


def scrolling(name: str, content: Html) -> Html:
    """A box that scrolls separately from the page, by keyboard as well."""
    return tag("div", content, class_="scroll", role="region", aria_label=name, tabindex=0)


def page(title: str, *body: Html) -> str:
    """A self-contained page: no other files, no scripts, no requests."""
    return f"""<!DOCTYPE html>
<html lang="en">
<head>
<meta charset="utf-8">
<meta name="viewport" content="width=device-width, initial-scale=1">
<meta name="color-scheme" content="light dark">
<meta http-equiv="Content-Security-Policy" content="default-src 'none'; style-src 'unsafe-inline'">
{tag("title", title)}
<style>
{STYLE}</style>
</head>
<body>
{tag("main", Html(chr(10)), *(Html(f"{part}{chr(10)}") for part in body))}
</body>
</html>
"""


STYLE = """\
:root {
  --page: #ffffff; --text: #1c2430; --muted: #5a6675; --rule: #d9dfe7; --panel: #f5f7fa;
  --first: #1d5fd1; --second: #b4510c; --alert: #fff3d6; --alert-rule: #d99a00;
}
@media (prefers-color-scheme: dark) {
  :root {
    --page: #14181f; --text: #e4e9f0; --muted: #9ba8b8; --rule: #333c49; --panel: #1d232d;
    --first: #7fb0ff; --second: #ffab6b; --alert: #3a2f12; --alert-rule: #d99a00;
  }
}
* { box-sizing: border-box; }
body { margin: 0; background: var(--page); color: var(--text); font: 16px/1.5 system-ui, sans-serif; }
main { max-width: 1080px; margin: 0 auto; padding: 1rem; }
h1 { font-size: 1.7rem; line-height: 1.2; margin: .5rem 0; overflow-wrap: anywhere; }
h2 { font-size: 1.2rem; margin: 2.2rem 0 .6rem; padding-top: .6rem; border-top: 1px solid var(--rule); }
p, li { overflow-wrap: anywhere; max-width: 46rem; }
.lead { font-size: 1.25rem; }
.muted, caption, figcaption, summary { color: var(--muted); }
.alert { background: var(--alert); border-left: 4px solid var(--alert-rule); padding: .5rem .8rem; margin: .6rem 0; }
.scroll { overflow: auto; max-height: 150rem; margin: .8rem 0; }
table { border-collapse: collapse; font-variant-numeric: tabular-nums; }
caption { text-align: left; padding: .2rem 0; }
th, td { padding: .25rem .7rem; border-bottom: 1px solid var(--rule); text-align: right; vertical-align: top; }
thead th { color: var(--muted); font-weight: 600; vertical-align: bottom; }
th[scope=row] { font-weight: 400; min-width: 8rem; overflow-wrap: anywhere; }
th:first-child, .words :is(th, td) { text-align: left; overflow-wrap: anywhere; }
.pairs :is(th, td):nth-child(2) { text-align: left; }
.halves { display: grid; grid-template-columns: repeat(auto-fill, minmax(min(100%, 420px), 1fr)); gap: 1rem; }
.halves > * { min-width: 0; }
figure { margin: 0; padding: .6rem; background: var(--panel); border-radius: 6px; }
figcaption b { color: var(--text); }
svg { display: block; width: 100%; height: auto; }
svg text { fill: var(--muted); font: 12px system-ui, sans-serif; }
.grid { stroke: var(--rule); }
.line { fill: none; stroke-width: 1.8; stroke-linejoin: round; }
.first { stroke: var(--first); color: var(--first); }
.second { stroke: var(--second); color: var(--second); }
.dot { fill: currentColor; }
.band { fill: currentColor; stroke: none; opacity: .2; }
.best { stroke: var(--muted); stroke-dasharray: 4 3; }
.border { stroke: var(--muted); stroke-dasharray: 1 3; }
.bar { display: block; height: .5rem; min-width: 1px; background: var(--first); }
.balance td { min-width: 6.8rem; }
.confusion tbody td { border: 1px solid var(--rule); text-align: center; min-width: 2.6rem;
  background: color-mix(in srgb, var(--shade) calc(var(--share) * 55%), transparent); }
.confusion thead th { text-align: center; padding: .25rem .4rem; }
.upright { writing-mode: vertical-rl; transform: rotate(180deg); white-space: nowrap; }
.examples > li { margin: 0 0 1rem; }
.text { white-space: pre-wrap; margin: 0; }
details .text { max-height: 24rem; overflow: auto; background: var(--panel); padding: .6rem; }
pre { background: var(--panel); padding: .7rem; border-radius: 6px; margin: 0; width: max-content; min-width: 100%; }
@media (max-width: 30rem) { th, td { padding: .25rem .4rem; } th[scope=row] { min-width: 7rem; } }
@media print { .scroll { max-height: none; } }
"""
