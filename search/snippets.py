"""The piece of a text that shows what was found in it, as HTML."""

from __future__ import annotations

import html
import unicodedata
from collections import Counter
from collections.abc import Iterable, Iterator, Sequence

from search.terms import Phrase, Term, count, locate, terms

SNIPPET_CHARACTERS = 200
BEFORE_CHARACTERS = 60  # of them, before the first mark
# A long text is looked through in blocks. Each begins some characters before the end of the one
# before it, so that a phrase is whole in one of them.
BLOCK_CHARACTERS, OVERLAP_CHARACTERS = 2_000, 500
MAX_WIDENED = 32
JOINER = "\u200d"

Span = tuple[int, int]


def snippet(text: str, wanted: Sequence[Phrase]) -> str:
    """Return the piece of a text that has most of the phrases: ``<mark>`` round each, all else escaped."""
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
    pieces, place = [], left
    for mark_start, mark_end in spans:
        if left <= mark_start < right:
            mark_end = min(mark_end, right)
            pieces += [_escaped(block[place:mark_start]), f"<mark>{_escaped(block[mark_start:mark_end])}</mark>"]
            place = mark_end
    pieces.append(_escaped(block[place:right]))
    return f"{'…' if start + left else ''}{''.join(pieces)}{'…' if start + right < len(text) else ''}"


def _escaped(text: str) -> str:
    return html.escape(text, quote=False)


def _best_block(text: str, wanted: Sequence[Phrase]) -> Span:
    best, best_count = (0, len(text)), 0  # where a phrase is longer than a block
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


def _space_before(text: str, place: int) -> int:
    """Return a place between two words, or the very place if there is none near: it may cut a long word."""
    for near in range(place, place - OVERLAP_CHARACTERS // 2, -1):
        if text[near].isspace():
            return near
    return place


def _spans(located: Sequence[Term], phrase: Phrase) -> Iterator[Span]:
    """Yield where a phrase stands."""
    *exact, last = phrase.terms
    size = len(phrase.terms)
    texts = [term.text for term in located]
    for place in range(len(texts) - size + 1):
        final = texts[place + size - 1]
        fits = final.startswith(last) if phrase.open else final == last
        if fits and texts[place : place + size - 1] == exact:
            end = located[place + size - 1].end
            if final != last and place + size < len(located):  # of a pair of characters, the first one
                end = min(end, max(located[place + size].start, located[place + size - 1].start + 1))
            yield located[place].start, end


def _widened(text: str, span: Span) -> Span:
    """Return a span that divides no character that the eye takes for one."""
    start, end = span
    first, last = max(start - MAX_WIDENED, 0), min(end + MAX_WIDENED, len(text))
    while start > first and JOINER in text[start - 1 : start + 1]:
        start -= 1
    while end < last and (JOINER in text[end - 1 : end + 1] or unicodedata.category(text[end])[0] == "M"):
        end += 1
    return start, end


def _merged(spans: Iterable[Span]) -> list[Span]:
    """Return spans that are sorted without those that overlap."""
    merged: list[Span] = []
    for start, end in spans:
        if merged and start <= merged[-1][1]:
            merged[-1] = (merged[-1][0], max(end, merged[-1][1]))
        else:
            merged.append((start, end))
    return merged


def _best_start(found: Sequence[tuple[Span, int]]) -> int:
    """Return where the first mark is that has the most different phrases near it; ``found`` is sorted."""
    best, most, end = 0, 0, 0
    near = Counter[int]()
    for place, ((start, _), phrase) in enumerate(found):
        last = start + SNIPPET_CHARACTERS - BEFORE_CHARACTERS
        while end < len(found) and (end <= place or found[end][0][1] <= last):
            near[found[end][1]] += 1
            end += 1
        if len(near) > most:
            best, most = start, len(near)
        near[phrase] -= 1
        near += Counter()  # drops what is not near any more
    return best


def _snapped(located: Sequence[Term], place: int, first: int) -> int:
    """Return where the first term from a place on begins."""
    return min((term.start for term in located if place <= term.start <= first), default=place)
