"""Exported messages are safe: whichever renderer shows them, none affects another one or the document."""

from __future__ import annotations

import re

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from services.markdown import sanitize
from tests.helpers.markdown import HEADING, rendered_messages, shows_all
from tests.helpers.renderers import Part, join_text

ESCAPES = [  # what has affected other messages, or could
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
def test_message_does_not_affect_the_next(content: str) -> None:
    other = "[word] and [^1] `code` <b>\n\n```\ncode <i>\n```\n"
    for first, second in rendered_messages("Title", content, other):
        assert normalized_text(second) == "[word] and [^1] code <b> code <i>"
        assert shows_all(first, content)
        assert "evil" not in str([part.attrs for part in second])


def normalized_text(parts: list[Part]) -> str:
    return " ".join(join_text(parts).split())


@pytest.mark.parametrize("title", [*(" ".join(content.split())[:120] for content in ESCAPES), "a #", "#", "# b ##", ""])
def test_title_is_plain_text(title: str) -> None:
    for (rendered,) in rendered_messages(title, "word"):
        assert normalized_text(rendered) == "word"


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


def check_containment(title: str, contents: list[str]) -> None:
    contents = [content.replace("{n}", f"m{number}m") for number, content in enumerate(contents)]
    for found in rendered_messages(title, *contents):
        for number, (content, section) in enumerate(zip(contents, found, strict=True)):
            assert set(re.findall(r"m(\d)m", str(section))) <= {str(number)}
            assert shows_all(section, content), content


@settings(max_examples=400, deadline=None)
@given(st.text("`~#*_[]<>&!|\\ab@:/.1-", max_size=40), st.lists(MESSAGES, min_size=1, max_size=3))
def test_random_messages_are_contained(title: str, contents: list[str]) -> None:
    check_containment(title, contents)


@pytest.mark.slow
@settings(max_examples=20_000, deadline=None)
@given(st.text("`~#*_[]<>&!|\\ab@:/.1-", max_size=40), st.lists(MESSAGES, min_size=1, max_size=3))
def test_random_messages_are_contained_in_many_tries(title: str, contents: list[str]) -> None:
    check_containment(title, contents)


def test_cell_has_no_code_span_that_renderers_split() -> None:
    assert "`" not in sanitize("a|b\n-|-\n`x\\\\|<img src=x>`|y")  # a backslash may be taken to escape the next
