"""Exported messages are shown by each renderer as the original is."""

from __future__ import annotations

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from services.markdown import sanitize
from tests.helpers.renderers import RENDERERS, normalize

FAITHFUL = [
    "Plain text,\nin two lines.\n\nAnd a second paragraph – with „German“ quotes, naïve, 漢字かな, 한국어, عربى, 🚀.",
    "*Emphasis*, _emphasis_, **strong**, __strong__, ***both***, **strong with *emphasis* in it**, in*tra*word.",
    "~~gone~~ and **~~both~~**",
    "`code`, `` a`b ``, ``` `` ```, `<b>`, `a  b`, ` `` `, `\\`, `*no*`",
    "[a link](https://example.com/a_(b)?c=1&d=2#e), [with *emphasis* and `code`](http://x.example 'A \"title\"').",
    "<https://example.com/?a=1&b=2> and https://example.com/a_b_c, (https://example.com/d). mail@example.com",
    "[one][1], [two][], [three]\n\n[1]: https://example.com/1\n[two]: https://example.com/2 'Two'\n[three]: <https://example.com/3>",
    "![An image](https://example.com/i.png)",
    "line one  \nline two\\\nline three",
    "# One\n\nText.\n\n## Two *x* `y`\n\nThree\n=====\n\nFour\n---\n\ntext",
    "- a\n- b\n  - c\n  - d\n    1. e\n    2. f\n- g",
    "1. one\n2. two\n10. three\n\n   more of three\n\n   ```sh\n   echo <b>\n   ```\n",
    "3) three\n4) four",
    "* a\n\n* b\n\n  > quoted\n  > text\n\n      code",
    "1. Run:\n   ```bash\n   make test\n   ```\n2. Then look:\n   - at this\n   - at that",
    "- a\n\n+ b\n\n* c",
    "> quote\n>\n> > nested\n> > more\n>\n> - list\n> - list\n\nbehind",
    "> lazy\ncontinued",
    "```python\ndef f(a: list[int]) -> None:\n\tprint('<b>', a)  # ``` no end\n\n\n    return\n```",
    "~~~\n```\n~~~",
    "````md\n```\nx\n```\n````",
    "Code:\n\n    indented\n\n      more\n\ntext",
    "a\n\n---\n\nb\n\n***\n\nc",
    "2 * 3 * 4 < 5 && a_b == c_d; 50 % of $5 and $6 {x} #1 @a ~3 ^2 | !x a\\b C:\\Users 1. 2) - + = > :",
    "AT&T &amp; R&D &copy; &lt;b&gt; &quot;x&quot; a&nbsp;b",
    "\\*not emphasis\\* \\# \\[x\\](y) \\`a\\`",
    "snake_case __init__ and *.py, a*b*c",
    "1986\\. A year.\n\n\\- no list\n\n\\# no heading\n\n+1 and -1, #hashtag, 1.5, (1) x",
    "A very long answer. " * 500 + "\n\n" + "- item with `code` and **strong**\n" * 200,
]

TABLES = [
    "| name | before | after | x |\n|:-----|-------:|:-----:|---|\n"
    "| `p50` | 120 ms | *40* ms | a\\|b |\n| `a \\| b` | [x](http://x.example) | | ~5 |\n",
    "Before:\n\na | b\n--|--\n1 | 2\n\nafter",
]
ORDINARY = [(name, content) for name in RENDERERS for content in FAITHFUL + TABLES * ("gfm" in name.lower())]


@pytest.mark.parametrize(("name", "content"), ORDINARY)
def test_ordinary_message_is_rendered_like_the_original(name: str, content: str) -> None:
    render = RENDERERS[name]
    if "]:" in content:  # definitions are shown too, after what uses them
        shown = normalize(render(content))
        assert normalize(render(sanitize(content)))[: len(shown)] == shown
    else:
        assert normalize(render(sanitize(content))) == normalize(render(content))


SECTION = """
## Why *checkout* is slow

The pool in `checkout/db.py` has **20** connections, and each retry takes one more of them (see
[the runbook](https://example.com/runbooks?of=checkout) and `max_connections`),
so that nobody gets any once p99 is above 800 ms; that is what the graph of 09:30 shows.

1. **Look** at the queue first:
   ```sh
   kubectl get pods -n shop | grep -v Running
   ```
2. Then lower `retries` to *two*, which takes
   - a change of `values.yaml`,
   - and a restart of the workers, one after the other, with some minutes between them.

| setting | before | after |
| --- | ---: | :---: |
| `retries` | 5 | **2** |
| `timeout` | 30 s | 3 s |

```python
def wait(attempt: int, most: float = 3.0) -> float:
    # with jitter, so that the clients do not come back all at once
    return min(most, 0.1 * 2**attempt) * random.uniform(0.5, 1.0)
```

> Nothing else has been changed since Monday, and the **rollback** of then is still at hand.
"""


@pytest.mark.parametrize("name", ["markdown-it, GFM", "cmark-gfm"])
def test_long_message_is_rendered_like_the_original(name: str) -> None:
    content = SECTION * (48_000 // len(SECTION))
    assert normalize(RENDERERS[name](sanitize(content))) == normalize(RENDERERS[name](content))


WORD = st.one_of(
    st.sampled_from(
        ["slow", "Größe", "漢字", "🚀", "snake_case", "a.b", "x<y", "5%", "$5", "~3", "f(x)", "[1]", "A&B"]
    ),
    st.sampled_from(["Checkout", "naïve", "1.5", "don't", "#1", "a|b", "=", "C:\\x", "(see)"]),
)
TEXT = st.lists(WORD, min_size=1, max_size=6).map(" ".join)
SPAN = st.one_of(
    TEXT,
    TEXT.map("*{}*".format).filter(lambda text: text[1].isalnum() and text[-2].isalnum()),
    TEXT.map("**{}**".format).filter(lambda text: text[2].isalnum() and text[-3].isalnum()),
    TEXT.map("`{}`".format).filter(lambda text: "\\" not in text),
    TEXT.filter(lambda text: not set("[\\") & set(text)).map("[{}](https://example.com/a_b)".format),
)
LINE = st.lists(SPAN, min_size=1, max_size=4).map(" ".join).map("X {}".format)
PARAGRAPH = st.lists(LINE, min_size=1, max_size=3).flatmap(
    lambda lines: st.sampled_from(["\n", "  \n", "\\\n"]).map(lambda end: end.join(lines))
)
CODE = st.lists(st.sampled_from(["x = a[1]", "\tif a < b:", "", "# ``", "<b>"]), max_size=5).map(
    lambda lines: "\n".join(["```py", *lines, "```"])
)
CELL = TEXT.map(lambda text: text.replace("|", "\\|").replace("\\ ", "/ ").rstrip("\\"))
TABLE = st.lists(st.tuples(CELL, CELL, CELL), min_size=1, max_size=3).map(
    lambda rows: "\n".join("| " + " | ".join(row) + " |" for row in [("a", "b", "c"), (":--", "--:", ":-:"), *rows])
)


def indented(text: str, mark: str) -> str:
    return mark + text.replace("\n", "\n" + " " * len(mark))


def containers(inner: st.SearchStrategy[str]) -> st.SearchStrategy[str]:
    blocks = st.lists(inner, min_size=1, max_size=3).map("\n\n".join)
    items = st.lists(blocks, min_size=1, max_size=3)
    return st.one_of(
        blocks.map(lambda text: "> " + text.replace("\n", "\n> ")),
        items.map(lambda each: "\n\n".join(indented(item, "- ") for item in each)),
        items.map(lambda each: "\n\n".join(indented(item, f"{number}. ") for number, item in enumerate(each, 1))),
    )


BLOCK = st.one_of(PARAGRAPH, CODE, TABLE)
HEADING_LINE = LINE.map("## {}".format)  # in an item of a list, it would be a paragraph where there was none
DOCUMENTS = st.lists(
    st.one_of(BLOCK, HEADING_LINE, st.recursive(BLOCK, containers, max_leaves=6)), min_size=1, max_size=4
).map("\n\n".join)


@settings(max_examples=200, deadline=None)
@given(DOCUMENTS)
def test_random_messages_are_rendered_like_the_original(content: str) -> None:
    text = sanitize(content)
    for name, render in RENDERERS.items():
        if "| :-- |" not in content or "gfm" in name.lower():  # if a table is text, it is written in another way
            assert normalize(render(text)) == normalize(render(content)), (name, text)
