"""Markdown in the page: what it becomes."""

from __future__ import annotations

import pytest
from playwright.sync_api import Page, expect

from tests.page.markdown import rendered, run

OUT = "target=_blank rel=noopener noreferrer nofollow"
CODE = "<figure class=code dir=ltr><figcaption><span class=language>{}</span><button type=button class=copy-code>Copy"
CODE += "</button></figcaption><pre tabindex=0><code>{}</code></pre></figure>"

TABLE: dict[str, tuple[str, str]] = {
    "paragraph": ("one\ntwo\n\nthree", "<p dir=auto>one<br></br>two</p><p dir=auto>three</p>"),
    "emphasis": (
        "*a* **b** ***c*** _d_ ~~e~~ a_b_c",
        "<p dir=auto><em>a</em> <strong>b</strong> <em><strong>c</strong></em> <em>d</em> <del>e</del> a_b_c</p>",
    ),
    "headings are below those of the page": (
        "# a\n## b\n### c\n#### d\n###### e",
        "<h3 dir=auto>a</h3><h4 dir=auto>b</h4><h5 dir=auto>c</h5><h6 dir=auto>d</h6><h6 dir=auto>e</h6>",
    ),
    "underlined headings": ("a\n=\n\nb\n-", "<h3 dir=auto>a</h3><h4 dir=auto>b</h4>"),
    "escapes": (r"\*a\* \<b> \\", "<p dir=auto>*a* <b> \\</p>"),
    "entities": (
        "&lt;b&gt; &amp;amp; &copy; &#65;&#x42; &nosuch; &constructor; &#0; &#xd800; AT&T",
        "<p dir=auto><b> &amp; © AB &nosuch; &constructor; \ufffd \ufffd AT&T</p>",
    ),
    "entities in code": ("`&lt;` &lt;", "<p dir=auto><code>&lt;</code> <</p>"),
    "HTML is text": (
        "<b>x</b> <!-- y -->\n\n<div>\n*a*\n</div>",
        "<p dir=auto><b>x</b> <!-- y --></p><p dir=auto><div><br></br><em>a</em><br></br></div></p>",
    ),
    "an open tag changes nothing after it": (
        "<a href='http://x.example'>\n\nhttps://y.example",
        "<p dir=auto><a href='http://x.example'></p>"
        f"<p dir=auto><a href=https://y.example {OUT}>https://y.example</a></p>",
    ),
    "code span": ("`` a`b ``", "<p dir=auto><code>a`b</code></p>"),
    "code without a language": ("```\na < b\n```", CODE.format("text", "a < b")),
    "code in an unknown language": ("```Brainf*ck x\n+\n```", CODE.format("brainf*ck", "+")),
    "indented code": ("    a\n    b", CODE.format("text", "a\nb")),
    "highlighted code": (
        '```json\n{"a": 1}\n```',
        CODE.format(
            "json",
            '<span class=hljs-punctuation>{</span><span class=hljs-attr>"a"</span>'
            "<span class=hljs-punctuation>:</span> "
            "<span class=hljs-number>1</span><span class=hljs-punctuation>}</span>",
        ),
    ),
    "an alias of a language": (
        "~~~sh title=x\nif a\n~~~",
        CODE.format("sh", "<span class=hljs-keyword>if</span> a"),
    ),
    "a class of more than one part": (
        "```python\ndef f(): pass\n```",
        CODE.format(
            "python",
            "<span class=hljs-keyword>def</span> <span class=hljs-title function_>f</span>(): "
            "<span class=hljs-keyword>pass</span>",
        ),
    ),
    "code that goes on is not highlighted": ('```json\n{"a": 1}', CODE.format("json", '{"a": 1}')),
    "quotes": (
        "> a\n>\n> > b",
        "<blockquote dir=auto><p>a</p><blockquote><p>b</p></blockquote></blockquote>",
    ),
    "lists": (
        "- a\n- b\n  1. c\n  2. d\n\n\n7) e",
        "<ul dir=auto><li>a</li><li>b<ol><li>c</li><li>d</li></ol></li></ul><ol start=7 dir=auto><li>e</li></ol>",
    ),
    "a list with space": ("- a\n\n- b", "<ul dir=auto><li><p>a</p></li><li><p>b</p></li></ul>"),
    "tasks": (
        "- [x] a\n- [ ] b",
        "<ul dir=auto><li class=task><span class=checkbox role=img aria-label=Done:>☑</span> a</li>"
        "<li class=task><span class=checkbox role=img aria-label=To do:>☐</span> b</li></ul>",
    ),
    "rule": ("a\n\n---", "<p dir=auto>a</p><hr></hr>"),
    "table": (
        "| a | b | c |\n|---|:-:|--:|\n| 1 | `2` |\n",
        "<div class=table role=group aria-label=Table tabindex=0 dir=auto><table><thead><tr>"
        "<th scope=col dir=auto>a</th><th scope=col dir=auto class=align-center>b</th>"
        "<th scope=col dir=auto class=align-right>c</th></tr></thead><tbody><tr><td dir=auto>1</td>"
        "<td dir=auto class=align-center><code>2</code></td><td dir=auto class=align-right></td></tr></tbody></table>"
        "</div>",
    ),
    "link": (
        "[a *b*](http://x.example/?a=1&amp;b \"t &quot;\")",
        f'<p dir=auto><a href=http://x.example/?a=1&b title=t " {OUT}>a <em>b</em></a></p>',
    ),
    "links by themselves": (
        "https://x.example/a_b. www.x.example me@x.example <mailto:me@x.example>",
        f"<p dir=auto><a href=https://x.example/a_b {OUT}>https://x.example/a_b</a>. "
        f"<a href=http://www.x.example {OUT}>www.x.example</a> <a href=mailto:me@x.example {OUT}>me@x.example</a> "
        f"<a href=mailto:me@x.example {OUT}>mailto:me@x.example</a></p>",
    ),
    "a link by reference": (
        "[a][b]\n\n[b]: https://x.example 'c'",
        f"<p dir=auto><a href=https://x.example title=c {OUT}>a</a></p>",
    ),
    "a link to a session or a message": (
        "[a](#/s/0190-a) [b](#/s/0190/m/0191)",
        "<p dir=auto><a href=#/s/0190-a>a</a> <a href=#/s/0190/m/0191>b</a></p>",
    ),
    "links that lead nowhere are shown as written": (
        "[a](javascript:alert) [b](docs/x.md) [c](//x.example) [d](data:text/html,x) [e](#x) [f](http:x) "
        "[g](ftp://x) [h]()",
        "<p dir=auto>[a](javascript:alert) [b](docs/x.md) [c](//x.example) [d](data:text/html,x) [e](#x) [f](http:x) "
        "[g](ftp://x) [h]()</p>",
    ),
    "links whose address is written in entities": (
        "[a](java&#115;cript:x) [b](&#106;avascript:x) [c](http&colon;//x) [d](&#104;ttp://x.example)",
        f"<p dir=auto>[a](java&#115;cript:x) [b](&#106;avascript:x) [c](http&colon;//x) "
        f"<a href=http://x.example {OUT}>d</a></p>",
    ),
    "images are links": (
        "![a *b*](https://x.example/i.png) ![](https://x.example/j.png) ![c](x.png)",
        f"<p dir=auto><a href=https://x.example/i.png {OUT} class=image>a *b*</a> "
        f"<a href=https://x.example/j.png {OUT} class=image>image</a> ![c](x.png)</p>",
    ),
    "an image in a link is its text": (
        "[![a](https://x.example/i.png)](https://y.example)",
        f"<p dir=auto><a href=https://y.example {OUT}>a</a></p>",
    ),
}  # fmt: skip


def test_markdown_becomes_elements(blank: Page) -> None:
    became = {name: rendered(blank, text) for name, (text, _) in TABLE.items()}
    assert became == {name: expected for name, (_, expected) in TABLE.items()}


def test_text_is_shown_whole(blank: Page) -> None:
    """Whatever is no Markdown is in what is shown, and nothing else is."""
    text = "<script>alert(1)</script> \u202eabc\u202c \u0000 ‮ 😀 <b"
    assert run(blank, "return markdown.renderMarkdown(argument).textContent", text) == text


@pytest.mark.parametrize("has_clipboard", [True, False])
def test_code_is_copied(blank: Page, has_clipboard: bool) -> None:
    """With the clipboard that a secure page has; without, as over plain HTTP, the older way."""
    if has_clipboard:
        blank.context.grant_permissions(["clipboard-read", "clipboard-write"])
    else:
        blank.evaluate("() => { delete Navigator.prototype.clipboard }")
    code = '{\n  "a": "<b>é"\n}'
    text = f"```json\n{code}\n```"
    run(blank, "document.querySelector('main').append(markdown.renderMarkdown(argument))", text)
    run(blank, "document.addEventListener('copy', () => { window.copied = getSelection().toString() })")
    blank.get_by_role("button", name="Copy").click()
    expect(blank.get_by_role("button", name="Copied")).to_be_visible()
    copied = "() => navigator.clipboard.readText()" if has_clipboard else "() => window.copied"
    assert blank.evaluate(copied) == code
    expect(blank.get_by_role("button", name="Copy", exact=True)).to_be_visible()
    assert not blank.locator("textarea").count()
