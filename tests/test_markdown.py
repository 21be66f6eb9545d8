"""A conversation as Markdown: to be read, and with nothing in it that acts, whichever renderer shows it."""

from __future__ import annotations

import re
import time
from collections.abc import Callable, Iterator
from itertools import count

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from services.markdown import sanitize, write
from tests.helpers.client import ApiClient, message
from tests.helpers.renderers import HEADINGS, RENDERERS, AsWritten, Part, normalized, parts, text_of

MOMENT = "2026-01-31T09:30:00.000Z"
HEADING = "User, 2026-01-31 09:30:00 UTC"
ALLOWED = {
    **dict.fromkeys(
        ("h1", "h2", "p", "br", "hr", "strong", "em", "del", "s", "ul", "li", "blockquote", "pre"), re.compile(r"(?!)")
    ),
    **dict.fromkeys(("table", "thead", "tbody", "tr"), re.compile(r"(?!)")),
    "a": re.compile(r"href=(?:https?|mailto):.*|title=.*", re.IGNORECASE | re.DOTALL),
    "code": re.compile(r"class=language-[\w+#.-]+", re.ASCII),
    "ol": re.compile(r"start=\d+"),
    "th": re.compile(r"align=\w+|style=text-align: ?\w+"),
    "td": re.compile(r"align=\w+|style=text-align: ?\w+"),
}


def document(title: str, *contents: str) -> str:
    session = {"title": title, "created_at": MOMENT}
    return b"".join(write(session, (("user", content, MOMENT) for content in contents))).decode()


def sections(title: str, *contents: str) -> Iterator[list[list[Part]]]:
    """Yield of each renderer what it shows of each message, having checked the document around it."""
    text = document(title, *contents)
    for name, render in RENDERERS.items():
        found: list[list[Part]] = []
        headings: list[list[Part]] = []
        for part in parts(render(text)):
            tag = part.tag.removeprefix("/")
            assert not tag or tag in ALLOWED, (name, part, text)
            assert all(ALLOWED[tag].fullmatch("=".join(attr)) for attr in part.attrs), (name, part, text)
            if part.tag in HEADINGS:
                headings.append([part])
                found.append([])
            elif headings and headings[-1][-1].tag != "/" + headings[-1][0].tag:
                headings[-1].append(part)
            else:
                found[-1].append(part)
        shown = [(heading[0].tag, text_of(heading)) for heading in headings]
        name = " ".join(title.replace("\0", "\ufffd").split()) or "Conversation"
        assert shown == [("h1", name), *[("h2", HEADING)] * len(contents)], text
        yield found[1:]


def words(text: str) -> str:
    """Return what any way of showing a text has to keep."""
    return "".join(filter(str.isalnum, text))


class WithoutHtml(AsWritten):
    def validateLink(self, url: str) -> bool:  # noqa: N802 - the library's name
        return bool(re.match("(?:https?|mailto):", url, re.IGNORECASE))


def meant(content: str) -> str:
    """Return the words that a text shows as Markdown without HTML."""
    parser = WithoutHtml("commonmark", {"html": False}).enable(["table", "strikethrough"])
    rendered = re.sub(r'<img src="[^"]*" alt="([^"]*)"[^>]*>', r"\1", parser.render(content))
    return words(text_of(parts(rendered)))


def says(section: list[Part], content: str) -> bool:
    """Return whether a section has all that a message says (or its text as it is); it may show addresses besides."""
    shown = words(text_of(section))
    rest = iter(shown)
    return shown == words(content) or all(char in rest for char in meant(content))


def test_a_conversation_as_it_is_read(owner: ApiClient) -> None:
    session = owner.imported(
        message("Why is *checkout* slow?", created_at=MOMENT),
        message(
            "See:\n\n```python\nif a < b:\n    pass\n```\n", role="assistant", created_at="2026-01-31T09:30:05.123Z"
        ),
        title="Checkout <b>is</b>\nslow",
        created_at=MOMENT,
    )
    answer = owner.get(f"/api/sessions/{session['id']}/export?format=markdown")
    assert answer.content_type == "text/markdown; charset=utf-8"
    head, _, rest = answer.text.partition(", exported ")
    assert head == "# Checkout &lt;b>is&lt;/b> slow\n\nBegun 2026-01-31 09:30:00 UTC"
    assert rest.partition("UTC.\n\n")[2] == (
        "## User, 2026-01-31 09:30:00 UTC\n\nWhy is *checkout* slow?\n\n"
        "## Assistant, 2026-01-31 09:30:05 UTC\n\nSee:\n\n```python\nif a < b:\n    pass\n```\n"
    )
    assert owner.get(f"/api/sessions/{session['id']}/export?format=json").get_json()["version"] == 1
    assert owner.get(f"/api/sessions/{session['id']}/export?format=html").status_code == 400
    assert owner.get(f"/api/sessions/{owner.session()['id']}/export?format=markdown").text.startswith("# Conversation")


def test_a_long_one_comes_whole(owner: ApiClient) -> None:
    session = owner.imported(*(message(f"message {number}") for number in range(300)))
    text = owner.get(f"/api/sessions/{session['id']}/export?format=markdown").text
    assert [line for line in text.split("\n") if line.startswith("message")] == [f"message {n}" for n in range(300)]


def test_a_message_is_sent_before_the_next_is_read() -> None:
    pieces = write({"title": "x", "created_at": MOMENT}, (("user", f"no {number}", MOMENT) for number in count()))
    assert next(pieces).startswith(b"# x\n")
    assert [next(pieces) for _ in range(2)] == [f"\n## {HEADING}\n\nno {number}\n".encode() for number in range(2)]


ESCAPES = [  # what has got out of a message, or could have
    "```\nlog line```",
    "x = '```",
    "```sh\nx = '```",
    "> ```\n> x ```",
    "```\n> ```",
    "```\n    ```",
    "~~~\nx ~~~",
    "~~~\n```",
    "- ```\nx",
    "1. ~~~\n   x",
    "`a|b\n-|-\n<img src=x onerror=alert(1)>|`",
    "a|b\n-|-\n`x\\\\|<img src=x>`|y",
    "a|b\n-|-\n`x\\|<img src=x>`|y",
    "a|b\n-|-\n`|<img src=x>|`\n`|`",
    "> [word]: http://evil.example",
    "- [word]: http://evil.example",
    "[word]: http://evil.example\n---",
    "[word]: http://evil.example\n===",
    "[word]:\nhttp://evil.example\n'a\ntitle'",
    "[^1]: note",
    "> [^1]: note",
    "[^1]: note\n---",
    "[word][] [^1] ![word][word] [word]",
    "[a]\n\n> [a]: <b> c",
    "<details>\n<summary>x</summary>",
    "<!--",
    "<?php",
    "<![CDATA[",
    "<script>\n\n</script>",
    "&lt;b&gt; &#60;b&#62; \\<b>",
    "<b>",
    "---\ntitle: x\n---",
    "+++\nx\n+++",
    "Text\n---",
    "Text\n===",
    "# Own\n## Two ##\n####### Seven",
    "#\n#",
    f"## {HEADING}",
    "a\r---\rb\r\n```\r",
    "a\u2028```\u2028# b\x0c# c\x0b```",
    "\x00<b>\x00",
    "&#10;# a&#10;&#10;<b>",
    "a\n&#9;&#32;- x\n&nbsp;***",
    "x\n&#32;~~~~a~~~~",
    "x\n**~~~~a~~~~**\n===",
    "# `a`**`<b>`**",
    "[`a`![](http://x.example)`<b>`](http://y.example)",
    "```" + "`" * 300 + "\n" + "`" * 299 + "\n<b>\n",
    "~~~\n" + "`" * 256 + "\n" + "x" + "~" * 300 + "\n<b>\n",
    "`" * 100 + "<b>" + "`" * 100,
    "x".join(["`" * 120, *("`" * length for length in range(1, 85)), "<b>", "`" * 120]),
    "``a ` <b>``",
    "# `a`**``b`<b>``**",
    "\\# a\n\n\\## a\n\n\\- a\n\n\\+ a\n\n\\> a\n\n1\\. a\n\n&#35; a\n\n1&#41; a",
    "a\n\\---\n\na\n\\===\n\n\\~~~\n\n\\```\n\n\\* a\n\na|b\n\\-|-\n\n\\| a |\n\\| - |",
    "> [!NOTE]\n> x",
    "- [ ] a\n- [x] b",
    "![x](http://tracker.example/x.png)",
    "[x](javascript:alert(1)) <javascript:alert(1)> [x]: javascript:alert(1)",
    "![x](data:image/png;base64,x) [x](//evil.example) [x](../x) //evil.example ftp://x.example",
    "[x]() []() ![x]() ![]() [`a`]()[`b`]() **x**[**y**]() [x](<>) [![]()]() [x]( ) a[*b*](\n)c",
    "xmpp:a@b.example xmpp:a_b@c_d.example mailto:a@b.example",
    "hm!https://x.example/a(b)c_d~e&copy;! www.a_b*c.example",
    '[x](http://x.example "a\\" onclick=\\"b")',
    ">" * 10_000,
    "- " * 10_000,
    "> - " * 60 + "deep",
    "$$\nx",
    "{onclick=alert(1)}",
    "| a |\n| - |\n| b",
    "a\n:-",
    "term\n: definition",
    "    code\n\n\tcode\n",
    "a  \n\\\n***",
    "* * *",
    "*\n  *\n    *",
    "- a\n  - - b",
    "1. a\n\n   2. b",
    "1000000000. a",
    "*[`<&|~_!>#-",
]


@pytest.mark.parametrize("content", ESCAPES)
def test_what_is_in_a_message_stays_in_it(content: str) -> None:
    other = "[word] and [^1] `code` <b>\n\n```\ncode <i>\n```\n"
    for first, second in sections("Title", content, other):
        assert normalized_text(second) == "[word] and [^1] code <b> code <i>"
        assert says(first, content)
        assert "evil" not in str([part.attrs for part in second])


def normalized_text(some: list[Part]) -> str:
    return " ".join(text_of(some).split())


@pytest.mark.parametrize("title", [*(" ".join(content.split())[:120] for content in ESCAPES), "a #", "#", "# b ##", ""])
def test_a_title_is_text(title: str) -> None:
    for (only,) in sections(title, "word"):
        assert normalized_text(only) == "word"


HOSTILE = st.sampled_from(
    [
        *"`~<>[]()!#*_|\\-+=:&;$^{}@'\"/.1a \n\t\r\x00\x0c\x0b\u2028\u00a0é漢🚀",
        *[
            "```",
            "~~~",
            "````",
            "``",
            "\n```",
            "\n~~~\n",
            "```py",
            "\n\n",
            "  \n",
            "\\\n",
            "\n    ",
            "\n\t",
            "    ",
            "\r\n",
        ],
        *["\n> ", "\n- ", "\n1. ", "\n  - ", "\n# ", "\n## ", "\n---\n", "\n===\n", "\n***\n", "\n> - ", "\n- [ ] "],
        *["a|b\n-|-\n", "|", "|-|", "\n:-:|:-:\n", "\\|", "\n|", "|\n", "\n-|-\n", "`a|b`"],
        *["<b>", "</b>", "<img src=x onerror=y>", "<!--", "-->", "<?", "<![CDATA[", "<script>", "<a href='", "<div>\n"],
        *[
            "[a]",
            "[^1]",
            "[a]: http://{n}.example\n",
            "[^1]: w{n}w\n",
            "](",
            "](http://{n}.example)",
            "]()",
            "![",
            "][",
            "[a][]",
        ],
        *["http://{n}.example", "www.{n}.example", "{n}@x.example", "<http://{n}.example>", "ftp://", "xmpp:", "//"],
        *["&lt;", "&#10;", "&#32;", "&#9;", "&#124;", "&#96;", "&nbsp;", "&amp;", "&#0;", "&"],
        *["\\#", "\\-", "\\>", "1\\.", "\\+ ", "&#35; ", "\n\\# ", "\n\\- ", "\n\\==="],
        *["`**``", "``**`", "[`a`![](http://{n}.example)``", "``w{n}w`<b>``", "``**``"],
        *["w{n}w", " w{n}w ", "**w{n}w**", "~~w{n}w~~", "`w{n}w`", "*", "**", "__", "~~", "\\", "\\`", "\\<"],
    ]
)
MESSAGES = st.one_of(
    st.lists(HOSTILE, max_size=25).map("".join),
    st.text("<>`~#=-_*[]()!\\&|\"': \n\tab/!?1.;", max_size=80),
    st.text(max_size=80),
)


def check(title: str, contents: list[str]) -> None:
    contents = [content.replace("{n}", f"m{number}m") for number, content in enumerate(contents)]
    for found in sections(title, *contents):
        for number, (content, section) in enumerate(zip(contents, found, strict=True)):
            assert set(re.findall(r"m(\d)m", str(section))) <= {str(number)}
            assert says(section, content), content


@settings(max_examples=400, deadline=None)
@given(st.text("`~#*_[]<>&!|\\ab@:/.1-", max_size=40), st.lists(MESSAGES, min_size=1, max_size=3))
def test_no_message_reaches_beyond_itself(title: str, contents: list[str]) -> None:
    check(title, contents)


@pytest.mark.slow
@settings(max_examples=20_000, deadline=None)
@given(st.text("`~#*_[]<>&!|\\ab@:/.1-", max_size=40), st.lists(MESSAGES, min_size=1, max_size=3))
def test_no_message_reaches_beyond_itself_however_long_one_tries(title: str, contents: list[str]) -> None:
    check(title, contents)


def test_a_cell_holds_no_code_that_some_renderers_would_cut_in_two() -> None:
    assert "`" not in sanitize("a|b\n-|-\n`x\\\\|<img src=x>`|y")  # a backslash may be taken to escape the next


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
def test_an_ordinary_answer_is_shown_as_it_was_meant(name: str, content: str) -> None:
    render = RENDERERS[name]
    if "]:" in content:  # definitions are shown, too, behind what uses them
        shown = normalized(render(content))
        assert normalized(render(sanitize(content)))[: len(shown)] == shown
    else:
        assert normalized(render(sanitize(content))) == normalized(render(content))


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
def test_a_long_answer_is_shown_as_it_was_meant(name: str) -> None:
    content = SECTION * (48_000 // len(SECTION))
    assert normalized(RENDERERS[name](sanitize(content))) == normalized(RENDERERS[name](content))


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
ANSWERS = st.lists(
    st.one_of(BLOCK, HEADING_LINE, st.recursive(BLOCK, containers, max_leaves=6)), min_size=1, max_size=4
).map("\n\n".join)


@settings(max_examples=200, deadline=None)
@given(ANSWERS)
def test_ordinary_answers_are_shown_as_they_were_meant(content: str) -> None:
    text = sanitize(content)
    for name, render in RENDERERS.items():
        if "| :-- |" not in content or "gfm" in name.lower():  # where a table is text, it is written in another way
            assert normalized(render(text)) == normalized(render(content)), (name, text)


def repeated(unit: str, before: str = "", after: str = "") -> Callable[[int], str]:
    return lambda length: before + unit * ((length - len(before) - len(after)) // len(unit)) + after


def growing(mark: str, between: str) -> Callable[[int], str]:
    return lambda length: between.join(mark * run for run in range(1, int((2 * length) ** 0.5)))


def nested(opening: str, closing: str, before: str = "") -> Callable[[int], str]:
    depth = len(opening) + len(closing)
    return lambda length: before + opening * (length // depth) + "a" + closing * (length // depth)


COSTLY: list[Callable[[int], str]] = [
    *map(repeated, "[]!#*_~`<>&|\\${:-=+.@a1\n\r\t\x00\u2028\x0c\ufeff🚀"),
    *map(repeated, ["![", "![[", "[a](", "[a](<", "[a][", "[[]", '[a](b "', "[a](http://b) ", "![a](http://b) ", "[]"]),
    *map(
        repeated, ["#\n", "# a\n", "> ", ">\n", "> a\n\n", "- ", "-\n", "- a\n", "- a\n+ a\n", "1. ", "+ - * ", "> - "]
    ),
    *map(
        repeated,
        ["*a ", "a* ", "*a_ ", "**a *", "a**b", "*a**a", "~~a ", "*a* ", "`x", "``\n", "```\n", "- ```\n", "a\n=\n"],
    ),
    *map(
        repeated,
        ["<a ", "<!--", "<?", "<http://a> ", "http://a.b ", "http://a(b", "a@b.cd ", "a@", "a.", "www.a ", "://"],
    ),
    *map(
        repeated,
        ["[a]: b\n", "[a]: http://b\n", "[a]: http://b 'c\n", "[a\n", "[^1]: x\n", "&amp;", "&#x0;", "a\\\n", "a\n\n"],
    ),
    *map(
        repeated, ["a|b\n", "a|b\n-|-\n", "a|b\n-|-\nx|y\n\n", "|a\n|-:\n", "*[`<&|~_!>#-", "*[`<&|~_!>#-\n", "    a\n"]
    ),
    *(repeated(unit, "a|b\n-|-\n") for unit in ["x|y\n", "`|\n", "`a`|*b*\n", "\\|", "[|[\n"]),
    *(growing(mark, between) for mark in "`~*_[" for between in (" ", "a", "\n")),
    *(
        nested(*pair)
        for pair in [("[", "]"), ("[", "](http://b)"), ("![", "](http://b)"), ("*a ", " a*"), ("~~a ", " a~~")]
    ),
    nested("[", "]", "[a]: http://b\n\n"),
    *(repeated(unit, "http://") for unit in ["漢", "🚀", "é.", "🚀" * 500 + " http://b/"]),
    lambda length: "[a]: http://b\n\n" + "[" * 1_000 + "a" * (length - 2_000) + "]" * 1_000,
    lambda length: "[a]: http://b/" + "x" * (length // 2) + "\n\n" + "[a]" * (length // 6),
    lambda length: "a|" * (length // 8) + "\n" + "-|" * (length // 8) + "\n" + "x\n" * (length // 4),
    lambda length: "a|" * 150 + "\n" + "-|" * 150 + "\n" + "x\n" * (length // 2),
    lambda length: ">" * (length // 2) + "a\n" + "b\n" * (length // 4),
    lambda length: ">" * 19 + "a\n" + "b\n" * (length // 2),
    lambda length: "\n".join("  " * depth + "- a" for depth in range(int(length**0.5))),
    lambda length: "- " * 9 + "```\n" + "\n" * length + "x",
]


@pytest.mark.parametrize("length", [50_000, pytest.param(400_000, marks=pytest.mark.slow)])
def test_no_message_takes_long(length: int) -> None:
    """Each takes some 45 ms at most, however long it is; what is quadratic takes minutes."""
    for number, make in enumerate(COSTLY):
        content = make(length)
        began = time.process_time()
        text = sanitize(content)
        assert time.process_time() - began < 0.5 * length / 50_000, number
        assert len(text) < 4 * len(content) + 300_000, number


def test_what_costs_too_much_is_shown_as_it_is() -> None:
    content = "[" * 50_000 + "\n# x\n```\n"
    assert sanitize(content) == "    " + content.strip().replace("\n", "\n    ")
