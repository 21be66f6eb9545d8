"""Snippets: the piece of a text that contains the most phrases of a query, as HTML with the phrases marked."""

from __future__ import annotations

import html
import unicodedata
from collections import Counter
from collections.abc import Iterable, Iterator, Sequence

from search.terms import Phrase, Term, count, locate, terms

SNIPPET_CHARACTERS = 200
BEFORE_CHARACTERS = 60  # of these, before the first mark
# A long text is searched in blocks. Each overlaps the previous one, so that no phrase is cut by both.
BLOCK_CHARACTERS, OVERLAP_CHARACTERS = 2_000, 500
MAX_WIDENED = 32
JOINER = "\u200d"

Span = tuple[int, int]


def snippet(text: str, wanted: Sequence[Phrase]) -> str:
    """Return the piece of a text with the most phrases: ``<mark>`` round each of them, everything else escaped."""
    start, end = _best_block(text, wanted)
    block = text[start:end]
    located = locate(block)
    found = sorted(
        (_widened(block, span), number) for number, phrase in enumerate(wanted) for span in _spans(located, phrase)
    )
    first = _best_start(found)
    spans = _merged(span for span, _ in found)
    left = 0 if first <= BEFORE_CHARACTERS else _snapped(located, first - BEFORE_CHARACTERS, first)
    right = min(left + SNIPPET_CHARACTERS, len(block))
    if right < len(block):
        right = max((term.end for term in located if first < term.end <= right), default=right)
    pieces, position = [], left
    for mark_start, mark_end in spans:
        if left <= mark_start < right:
            mark_end = min(mark_end, right)
            pieces += [_escaped(block[position:mark_start]), f"<mark>{_escaped(block[mark_start:mark_end])}</mark>"]
            position = mark_end
    pieces.append(_escaped(block[position:right]))
    return f"{'…' if start + left else ''}{''.join(pieces)}{'…' if start + right < len(text) else ''}"


def _escaped(text: str) -> str:
    return html.escape(text, quote=False)


def _best_block(text: str, wanted: Sequence[Phrase]) -> Span:
    best, best_count = (0, len(text)), 0  # for a phrase that is longer than a block
    for start, end in _blocks(text) if len(text) > BLOCK_CHARACTERS else ():
        joined = f" {' '.join(terms(text[start:end]))} "
        found = sum(1 for phrase in wanted if count(joined, phrase))
        if found > best_count:
            best, best_count = (start, end), found
        if found == len(wanted):
            break
    return best


def _blocks(text: str) -> Iterator[Span]:
    start = 0
    while True:
        end = start + BLOCK_CHARACTERS
        if end >= len(text):
            yield start, len(text)
            return
        end = _space_before(text, end)
        yield start, end
        start = _space_before(text, end - OVERLAP_CHARACTERS)


def _space_before(text: str, position: int) -> int:
    """Return a near position between two words, or ``position`` itself, within a long word, if there is none."""
    for near in range(position, position - OVERLAP_CHARACTERS // 2, -1):
        if text[near].isspace():
            return near
    return position


def _spans(located: Sequence[Term], phrase: Phrase) -> Iterator[Span]:
    """Yield the spans of a phrase."""
    *exact, last = phrase.terms
    size = len(phrase.terms)
    texts = [term.text for term in located]
    for position in range(len(texts) - size + 1):
        final = texts[position + size - 1]
        fits = final.startswith(last) if phrase.open else final == last
        if fits and texts[position : position + size - 1] == exact:
            end = located[position + size - 1].end
            if final != last and position + size < len(located):  # only the first of a pair of characters
                end = min(end, max(located[position + size].start, located[position + size - 1].start + 1))
            yield located[position].start, end


def _widened(text: str, span: Span) -> Span:
    """Return the span extended so that it does not cut through a character as a reader sees it."""
    start, end = span
    first, last = max(start - MAX_WIDENED, 0), min(end + MAX_WIDENED, len(text))
    while start > first and JOINER in text[start - 1 : start + 1]:
        start -= 1
    while end < last and (JOINER in text[end - 1 : end + 1] or unicodedata.category(text[end])[0] == "M"):
        end += 1
    return start, end


def _merged(spans: Iterable[Span]) -> list[Span]:
    """Return sorted spans with those that overlap merged."""
    merged: list[Span] = []
    for start, end in spans:
        if merged and start <= merged[-1][1]:
            merged[-1] = (merged[-1][0], max(end, merged[-1][1]))
        else:
            merged.append((start, end))
    return merged


def _best_start(found: Sequence[tuple[Span, int]]) -> int:
    """Return the start of the first mark with the most different phrases near it; ``found`` is sorted."""
    best, most, end = 0, 0, 0
    near = Counter[int]()
    for position, ((start, _), phrase) in enumerate(found):
        last = start + SNIPPET_CHARACTERS - BEFORE_CHARACTERS
        while end < len(found) and (end <= position or found[end][0][1] <= last):
            near[found[end][1]] += 1
            end += 1
        if len(near) > most:
            best, most = start, len(near)
        near[phrase] -= 1
        near += Counter()  # drops phrases that are not near any more
    return best


def _snapped(located: Sequence[Term], position: int, first: int) -> int:
    """Return the start of the first term from a position on."""
    return min((term.start for term in located if position <= term.start <= first), default=position)
