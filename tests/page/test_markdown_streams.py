"""Markdown in the page: as it streams in."""

from __future__ import annotations

import random

from playwright.sync_api import Page, expect

from tests.page.markdown import run
from tests.page.test_markdown import TABLE

CORPUS = [
    *(text for text, _ in TABLE.values()),
    *("\n\n".join(text for text, _ in list(TABLE.values())[start : start + 8]) for start in range(0, len(TABLE), 4)),
    "- a\n\n1\n\n2",
    "- a\n\n1. b\n\n   c\n\nd",
    "- a\n\n  b\n\n      c\n\n- d",
    "a\n\n    b\n\nc",
    "> a\n\n> b\nc\n\nd",
    "[a] [b]\n\nc\n\nd\n\ne\n\n[a]: http://x.example\n[b]: http://y.example\n\nf",
    "a\r\n\r\nb\r\n\r\n```\r\nc\r\n```\r\n\r\nd\r\n\r\ne",
    "```\na\n\nb\n\n\nc\n```\n\nd\n\n~~~js\nlet a = 1\n\n\n",
    "|a|\n|-|\n|b|\n\nc\n\n|d|\n\n|-|\n\ne",
    "a\n===\nb\n---\n\n---\n\n***\nc",
    "<div>\n\na\n\n</div>\n\n<!--\n\nb\n\n-->\n\nc",
    "1. a\n\n   ```sh\n   b\n\n   c\n   ```\n\n2. d\n\n\n3. e",
    "😀 \u202ea *é* 👩‍👩‍👧\n\n" * 3,
]
STREAM = """
const settled = () => new Promise((resolve) => requestAnimationFrame(() => requestAnimationFrame(resolve)));
const differences = [];
for (const { text, cuts } of argument) {
  const stream = markdown.createStreamedMarkdown();
  let from = 0;
  for (const cut of [...cuts, text.length]) {
    stream.append(text.slice(from, cut));
    from = cut;
    await settled();
  }
  stream.finish();
  const whole = document.createElement("div");
  whole.className = "markdown";
  whole.append(markdown.renderMarkdown(text));
  if (!whole.isEqualNode(stream.element)) differences.push([text, cuts, describe(stream.element), describe(whole)]);
}
return differences;
"""


def test_a_stream_becomes_what_the_whole_text_is(blank: Page) -> None:
    chance = random.Random(1)
    cases = [
        {"text": text, "cuts": sorted(chance.sample(range(len(text)), min(len(text) - 1, chance.randint(1, 12))))}
        for text in CORPUS
        for _ in range(4)
    ]
    # Frames take 16 ms each: all cases run beside each other.
    script = f"""
    const one = async (argument) => {{ {STREAM} }};
    return (await Promise.all(argument.map((each) => one([each])))).flat();
    """
    assert run(blank, script, cases) == []


def test_a_stream_keeps_what_is_done(blank: Page) -> None:
    run(blank, "document.querySelector('main').append((window.stream = markdown.createStreamedMarkdown()).element)")
    text = blank.locator(".markdown")
    assert blank.evaluate("() => { stream.append('first\\n\\nsec'); return stream.element.childNodes.length }") == 0
    expect(text).to_have_text("firstsec")  # a frame later
    first, second = (blank.locator(".markdown > p").nth(number).element_handle() for number in (0, 1))
    blank.evaluate("() => stream.append('ond\\n\\n```js\\nlet a')")
    expect(text).to_contain_text("let a")
    is_there = "(node) => node.isConnected"
    assert (first.evaluate(is_there), second.evaluate(is_there)) == (True, False)
    code = blank.locator("pre").element_handle()
    blank.evaluate("() => stream.append(' = 1\\n')")
    expect(text).to_contain_text("let a = 1")
    assert code.evaluate(is_there)  # with its scrollbar and what is selected in it
    blank.evaluate("() => stream.finish()")
    assert text.text_content() == "firstsecondjsCopylet a = 1"


def test_a_stream_shows_all_at_its_end_without_another_frame(blank: Page) -> None:
    script = """
    const stream = markdown.createStreamedMarkdown();
    stream.append("*a*");
    stream.finish();
    return describe(stream.element);
    """
    assert run(blank, script) == "<div class=markdown><p dir=auto><em>a</em></p></div>"


def test_a_stream_that_becomes_too_long_goes_on_as_plain_text(blank: Page) -> None:
    script = """
    const frame = () => new Promise((resolve) => requestAnimationFrame(() => setTimeout(resolve)));
    const stream = markdown.createStreamedMarkdown();
    for (let part = 0; part < 25; part += 1) {
      stream.append("*a* b\\n\\n".repeat(1_250));
      await frame();
    }
    stream.append("end");
    stream.finish();
    const [pre] = stream.element.childNodes;
    return [stream.element.childNodes.length, pre.localName, pre.textContent === "*a* b\\n\\n".repeat(31_250) + "end"];
    """
    assert run(blank, script) == [1, "pre", True]
