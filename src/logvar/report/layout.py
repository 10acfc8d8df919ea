"""The layout of every page: style, heading, facts and sections."""

import html


def section(title: str, body: str, caption: str = "", *, half: bool = False) -> str:
    below = f"<p class=caption>{html.escape(caption)}</p>" if caption else ""
    kind = "half" if half else "whole"
    return f"<section class={kind}><h2>{title}</h2>{body}{below}</section>"


def page(title: str, subtitle: str, facts: list[str], sections: list[str]) -> str:
    """Return a self-contained page.

    Args:
        title: the title, as plain text.
        subtitle: next to the title, smaller.
        facts: short plain texts, in one line below.
        sections: results of `section`.
    """
    return _TEMPLATE.format(
        title=html.escape(title),
        subtitle=html.escape(subtitle),
        facts="".join(f"<li>{html.escape(fact)}</li>" for fact in facts),
        sections="\n".join(sections),
        tables=_TABLES,
    )


_TEMPLATE = """<!doctype html>
<html lang="en"><head><meta charset="utf-8">
<meta name="viewport" content="width=device-width, initial-scale=1">
<title>logvar · {title}</title>
<style>
:root {{ color: #1d2733; background: #f4f5f3; font: 15px/1.5 system-ui, sans-serif; }}
body {{ max-width: 62rem; margin: 2.5rem auto; padding: 0 1.2rem; }}
h1 {{ font-size: 1.7rem; margin: 0 0 .3rem; letter-spacing: -.01em; }}
h1 small {{ font-weight: 400; color: #7a8794; }}
h2 {{ font-size: 1rem; margin: 0 0 .7rem; }}
ul.facts {{ list-style: none; padding: 0; margin: 0 0 1.6rem; color: #4a5663; }}
ul.facts li {{ display: inline; }}
ul.facts li + li::before {{ content: " · "; color: #b4bcc4; }}
main {{ display: flex; flex-wrap: wrap; gap: 1rem; }}
section {{ background: #fff; border: 1px solid #e3e6e3; border-radius: 8px; padding: 1.1rem 1.3rem;
  box-sizing: border-box; }}
section.whole {{ flex: 1 1 100%; min-width: 0; }}
section.half {{ flex: 1 1 26rem; min-width: 0; }}
section svg, img.plot {{ max-width: 100%; height: auto; display: block; }}
img.pixels {{ width: 100%; image-rendering: pixelated; display: block; border-radius: 4px; }}
section.half img.pixels {{ max-width: 27rem; }}
table {{ border-collapse: collapse; width: 100%; font-variant-numeric: tabular-nums; }}
td {{ padding: .3rem .6rem .3rem 0; border-top: 1px solid #edefec; white-space: nowrap; }}
td.number {{ text-align: right; font-weight: 600; }}
td.error, td.how {{ color: #7a8794; }}
td.how {{ white-space: normal; }}
th {{ text-align: left; font-weight: 400; color: #7a8794; padding: 0 .6rem .3rem 0; }}
td.right, th.right {{ text-align: right; }}
div.wide {{ overflow-x: auto; }}
ul.verdicts {{ padding-left: 1.1rem; margin: 0; }}
ul.verdicts li {{ margin: .35rem 0; }}
ul.verdicts.notes {{ color: #7a8794; margin-top: .8rem; }}
p {{ margin: .2rem 0 .8rem; }}
p.caption {{ color: #7a8794; font-size: .88rem; margin: .7rem 0 0; }}
pre {{ margin: 0; font-size: .82rem; overflow-x: auto; }}
{tables}@media (max-width: 44rem) {{
  body {{ margin: 1rem auto; padding: 0 .6rem; }}
  section {{ padding: .8rem .9rem; overflow-x: auto; }}
  section.half {{ flex-basis: 100%; }}
  section.whole > svg {{ max-width: none; }}
  table.numbers tr {{ display: flex; flex-wrap: wrap; border-top: 1px solid #edefec; }}
  table.numbers td {{ border: 0; padding-bottom: 0; }}
  table.numbers td.how {{ flex: 1 1 100%; padding: 0 0 .3rem; font-size: .88rem; }}
}}
</style></head><body>
<h1>{title} <small>{subtitle}</small></h1>
<ul class="facts">{facts}</ul>
<main>
{sections}
</main>
</body></html>
"""

_TABLES = """h3 { font-size: .9rem; margin: 0 0 .4rem; }
table.words, table.odd { font-size: .88rem; }
table.words td, table.odd td { padding-top: .2rem; padding-bottom: .2rem; vertical-align: top; }
table.words td:first-child { white-space: normal; }
table.words td:last-child:not(.right) { white-space: normal; width: 60%; }
table.odd td.cells, table.odd th.cells { width: 70%; padding-left: 1.4rem; white-space: normal; }
h3.next { margin-top: 1.1rem; }
table.odd ul { margin: 0; padding: 0; list-style: none; color: #1d2733; }
table.odd span { color: #7a8794; }
details { margin-top: .8rem; }
details div.wide { max-height: 30rem; overflow-y: auto; margin-top: .5rem; }
summary { cursor: pointer; color: #2463a8; }
.head { display: flex; justify-content: space-between; flex-wrap: wrap; }
p.key { margin: 0 0 .8rem; color: #4a5663; font-size: .88rem; }
p.key svg { display: inline; vertical-align: -2px; margin-left: .8rem; }
p.key svg:first-child { margin-left: 0; }
svg.mark { width: 100%; overflow: visible; }
svg.mark text { font: 11px system-ui, sans-serif; fill: #4a5663; }
.panels { display: grid; grid-template-columns: repeat(auto-fill, minmax(min(15.5rem, 100%), 1fr));
  gap: 1.3rem 1.6rem; }
.panel { min-width: 0; }
.panel h3 { margin: 0; overflow: hidden; text-overflow: ellipsis; white-space: nowrap; }
.panel p { margin: 0 0 .35rem; color: #7a8794; font-size: .8rem; line-height: 1.35;
  white-space: pre-line; }
.two { display: grid; gap: 1.4rem;
  grid-template-columns: repeat(auto-fit, minmax(min(24rem, 100%), 1fr)); }
.two > * { min-width: 0; margin: 0; }
figcaption { font-size: .9rem; font-weight: 600; margin-bottom: .4rem; }
table.bars { font-size: .8rem; line-height: 1.3; table-layout: fixed; }
table.bars td, table.bars th { border: 0; padding: .08rem .3rem .08rem 0; }
table.bars th { width: 40%; color: #1d2733; }
table.bars th span { display: block; overflow: hidden; text-overflow: ellipsis;
  white-space: nowrap; }
table.bars td { width: 2.4rem; text-align: right; color: #2463a8; }
table.bars td.samples { color: #b95a1d; }
table.bars td.bar { width: auto; }
td.bar div { position: relative; height: .8rem; background: #f4f5f3; }
td.bar b { position: absolute; inset: 0 auto 0 0; background: #2463a8; opacity: .45; }
td.bar i { position: absolute; top: -1px; bottom: -1px; width: 2px; margin-left: -1px;
  background: #d9722e; }
"""
