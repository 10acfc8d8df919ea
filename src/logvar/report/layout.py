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
section.whole {{ flex: 1 1 100%; }}
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
</style></head><body>
<h1>{title} <small>{subtitle}</small></h1>
<ul class="facts">{facts}</ul>
<main>
{sections}
</main>
</body></html>
"""
