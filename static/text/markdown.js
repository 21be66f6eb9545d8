import { continuesCode, updateCode } from "./code_block.js";
import { element, fragment } from "./elements.js";
import { lex, MAX_LENGTH } from "./lexer.js";
import { renderBlock, renderPlain } from "./render.js";

// Between two drawings of a stream there is this many times as long as one takes: the page stays responsive.
const REST = 3;

/**
 * Return a Markdown text as nodes. HTML in it is text, and so is all of one that is too long or takes too long.
 * @param {string} text
 * @returns {DocumentFragment}
 */
export function renderMarkdown(text) {
  const lexed = lex(text);
  return lexed ? fragment(...lexed.tokens.map(renderBlock).filter(Boolean)) : fragment(renderPlain(text));
}

/**
 * Return an element that shows a Markdown text while it arrives: drawn once a frame at most, and only what has changed.
 * At its end it has what `renderMarkdown` returns for the whole text.
 * @returns {{element: HTMLElement, append: function(string): void, finish: function(): void}}
 */
export function createStreamedMarkdown() {
  const root = element("div", { class: "markdown" });
  let text = "";
  let start = 0; // what comes before is drawn for good…
  let drawn = []; // … and these are the blocks after it: {raw, token, node}
  let links = "{}"; // definitions, on which blocks before them depend
  let isPlain = false;
  let frame = 0;
  let restsUntil = 0;

  function draw() {
    if (isPlain || text.length > MAX_LENGTH) return drawPlain();
    const lexed = lex(text.slice(start));
    if (!lexed) return drawPlain();
    const found = JSON.stringify(lexed.links);
    if (found === links) return drawBlocks(lexed.tokens);
    if (start) {
      start = 0; // from now on, all is read each time
      drawn = [];
      return draw();
    }
    links = found;
    root.replaceChildren();
    drawn = [];
    return drawBlocks(lexed.tokens);
  }

  function drawBlocks(tokens) {
    const same = tokens.findIndex((token, index) => token.raw !== drawn[index]?.raw);
    const first = same < 0 ? tokens.length : same;
    if (first === tokens.length - 1 && continuesCode(drawn[first]?.token, tokens[first])) {
      drawn[first].raw = tokens[first].raw;
      updateCode(drawn[first].node, tokens[first]); // its scrollbar and selection stay
      return;
    }
    for (const { node } of drawn.splice(first)) node?.remove();
    for (const each of tokens.slice(first)) {
      const node = renderBlock(each);
      if (node) root.append(node);
      drawn.push({ raw: each.raw, token: each, node });
    }
    if (links === "{}") settle();
  }

  /** Leave out, from now on, the blocks that no further text can change: all before the last two, after a blank line. */
  function settle() {
    let visible = 0;
    let cut = drawn.length;
    while (cut > 0 && !(visible >= 2 && drawn[cut - 1].token.type === "space")) {
      cut -= 1;
      if (drawn[cut].node) visible += 1;
    }
    const settled = drawn.slice(0, cut).map(({ raw }) => raw).join("");
    if (cut === 0 || !text.startsWith(settled, start)) return;
    start += settled.length;
    drawn = drawn.slice(cut);
  }

  function drawPlain() {
    if (!isPlain) root.replaceChildren(renderPlain(""));
    isPlain = true;
    const pre = root.firstChild;
    pre.append(text.slice(pre.textContent.length));
  }

  function schedule() {
    frame ||= requestAnimationFrame(() => {
      frame = 0;
      const now = performance.now();
      if (now < restsUntil) return schedule();
      draw();
      restsUntil = now + (REST + 1) * (performance.now() - now);
    });
  }

  return {
    element: root,
    append(delta) {
      text += delta;
      schedule();
    },
    finish() {
      cancelAnimationFrame(frame);
      if (isPlain) root.replaceChildren(renderMarkdown(text));
      else draw();
    },
  };
}
