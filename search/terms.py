"""The terms of a text: the index stores them, a query consists of them, and a snippet marks them.

All three use this module, so that every text is found by each part of it. A term is

- a word: letters and the marks that belong to them, without case, accents or points;
- a number: digits, in any script (so that 404 is in ERR404, and 09:30 in T09:30Z);
- two neighbouring characters of a script that is written without spaces, such as Chinese or Thai,
  and the last one of such a run by itself;
- a symbol, such as an emoji;
- ``++`` or ``#`` right after a word (C++, C#).

A piece of a query without spaces, such as ``/var/log/x.log``, is searched for as a phrase: its terms,
next to one another. So a piece of a text is found by the whole of it and by any of its parts.
"""

from __future__ import annotations

import re
import unicodedata
from collections.abc import Iterator
from functools import cache
from itertools import islice
from typing import NamedTuple

MAX_TERM_LENGTH = 64  # a longer word is several terms; a base64 blob would be one of 50,000 characters
MAX_QUERY_TERMS = 32

# Scripts without spaces between words; and flags, which are pairs of letters of their own.
RUN = (
    "\u0e00-\u0eff\u1000-\u109f\u1780-\u17ff\u1950-\u19df\u1a20-\u1aaf\ua9e0-\ua9ff\uaa60-\uaadf"  # Thai to Tai Viet
    "\u1100-\u11ff\ua960-\ua97f\uac00-\ud7ff"  # Hangul
    "\u3005-\u3007\u3021-\u3029\u3031-\u3035\u303b\u303c\u3040-\u30ff\u31f0-\u31ff"  # Kana
    "\u3105-\u312f\u31a0-\u31bf\u3400-\u4dbf\u4e00-\u9fff\ua000-\ua4cf\uf900-\ufaff"  # Bopomofo, Han, Yi
    "\U0001aff0-\U0001b16f\U00020000-\U0003ffff"
    "\U0001f1e6-\U0001f1ff"
)
EDGE = "\x1f"  # before and after each symbol of a folded text; it counts as white space
_IS_RUN = re.compile(f"[{RUN}]").fullmatch
_TERM = re.compile(
    rf"[{RUN}]+"
    rf"|(?P<symbol>{EDGE}.{EDGE})(?P=symbol)*"  # a ruled line is one term
    rf"|(?<=[^\s+#])(?:\+\+|#)"
    rf"|\d{{1,{MAX_TERM_LENGTH}}}"
    rf"|[^\s\d+#{RUN}]{{1,{MAX_TERM_LENGTH}}}",
    re.DOTALL,
)
_ASCII_TERM = re.compile(
    rf"[a-z]{{1,{MAX_TERM_LENGTH}}}|[0-9]{{1,{MAX_TERM_LENGTH}}}|(?<=[a-z0-9])(?:\+\+|#)"
)  # the same, in half the time

# Letters with a stroke or without a dot: accents to the reader, letters of their own to Unicode.
STROKES = {"ı": "i", "ł": "l", "ø": "o", "đ": "d", "ħ": "h", "ŧ": "t"}
# Invisible or without meaning, though not by their category: Arabic tatweel, fillers, selectors.
INVISIBLE = re.compile("[\u0640\u034f\u115f\u1160\u3164\u180b-\u180f\ufe00-\ufe0f\U000e0000-\U000e0fff]").match
SKIN_TONES = re.compile("[\U0001f3fb-\U0001f3ff]").match
VOICED = re.compile("[\u3099\u309a\uff9e\uff9f]")  # Kana's marks; of half width they are composed only in NFKC
CACHED_CHARACTERS = 65_536
# Most marks that are taken together with a letter, as in Unicode's stream-safe text. Putting them in order takes the
# square of their number, and holds up all threads: 3 s for 50,000.
MAX_MARKS = 30


class Term(NamedTuple):
    """A term and its position in the text."""

    text: str
    start: int
    end: int


class Phrase(NamedTuple):
    """Terms that are next to one another; if the phrase is ``open``, the last one is a prefix of a term."""

    terms: tuple[str, ...]
    open: bool


class _Folded(dict[int, str]):
    """A cache of the characters' folded forms."""

    def __missing__(self, code: int) -> str:
        folded = _fold_character(chr(code))
        if len(self) < CACHED_CHARACTERS:  # so that no text can fill the memory
            self[code] = folded
        return folded


def _fold_character(character: str) -> str:
    """Return a character without case, accent and width: letters and digits, a symbol between EDGEs, or a space."""
    if character in "+#" or "\U0001f1e6" <= character <= "\U0001f1ff":
        return character
    if SKIN_TONES(character) or INVISIBLE(character):
        return ""
    category = unicodedata.category(character)
    parts = unicodedata.normalize("NFKD", character)
    spells = any(part.isalnum() for part in parts)
    if not spells and _is_symbol(character) and not parts.isascii():
        return f"{EDGE}{character}{EDGE}"
    retained = "".join(part for part in parts if not _is_dropped(part))  # before case: that of ᾳ would be αι
    parts = unicodedata.normalize("NFKD", retained.casefold())
    folded = unicodedata.normalize("NFC", "".join(map(_fold_part, parts)))
    # ™, ℃ and the ¹ of a footnote must not hide the word that they follow; the ₂ of H₂O is a part of it.
    apart = _is_symbol(character) or (category == "No" and "<sub>" not in unicodedata.decomposition(character))
    return f" {folded} " if apart and spells else folded


def _is_dropped(part: str) -> bool:
    """Return whether a part of a character is an accent, a point of Hebrew or Arabic, or invisible."""
    category = unicodedata.category(part)
    if category == "Mn":  # others are vowels, or change the consonant: Indic scripts, Thai, Kana
        combining = unicodedata.combining(part)
        return combining >= 200 or combining == 1 or 10 <= combining <= 36 or bool(INVISIBLE(part))
    return category in ("Cf", "Me") or bool(INVISIBLE(part))


def _fold_part(part: str) -> str:
    category = unicodedata.category(part)
    if _is_dropped(part):
        return ""
    if category == "Nd":
        return str(unicodedata.decimal(part))
    if category[0] in "LNM":
        return STROKES.get(part, part)
    if _is_symbol(part) and not part.isascii() and part != "⁄":
        return f"{EDGE}{part}{EDGE}"
    return " "


def _is_symbol(character: str) -> bool:
    """Return whether a character is a term by itself; one that this Unicode version does not know may be an emoji."""
    return unicodedata.category(character) in ("So", "Sm", "Sc", "Co", "Cn")


_FOLDED = _Folded()


def _fold(text: str) -> str:
    return text.translate(_FOLDED)


def terms(text: str) -> list[str]:
    """Return the terms of a text in their order."""
    folded = _fold("".join(map(_compose, _clusters(text))) if _is_decomposed(text) else text)
    if folded.isascii() and EDGE not in folded:
        return _ASCII_TERM.findall(folded)
    return [term for term, _, _ in _split(folded)]


def locate(text: str) -> list[Term]:
    """Return the terms of a text in their order, with their positions."""
    if text.isascii():
        return [Term(*found) for found in _split(_fold(text))]
    folded, starts, ends = [], [], []
    position = 0
    for cluster in _clusters(text) if _is_decomposed(text) else text:
        start, position = position, position + len(cluster)
        piece = _compose(cluster).translate(_FOLDED)
        if piece:
            folded.append(piece)
            starts += [start] * len(piece)
            ends += [position] * len(piece)
        elif ends:  # an accent, a joiner: part of what it follows
            ends[-1] = position
    return [Term(term, starts[start], ends[end - 1]) for term, start, end in _split("".join(folded))]


def phrases(query: str) -> list[Phrase]:
    """Return the phrases that a text must contain to match a query: the pieces between its spaces.

    One that ends in a single character of a run is ``open``, since in a text that is the beginning
    of a term. The last one may be a prefix because it is still being typed: see ``opened``.
    """
    found: dict[Phrase, None] = {}
    left = MAX_QUERY_TERMS
    for piece in query.split():
        located = locate(piece)[:left]
        left -= len(located)
        is_open = False
        if located and _IS_RUN(located[-1].text):
            if len(located) > 1 and located[-1].start < located[-2].end:  # in the pair before it
                located.pop()
            else:
                is_open = True
        if located:
            found[Phrase(tuple(term.text for term in located), is_open)] = None
        if not left:
            break
    return list(found)


def opened(phrase: Phrase) -> Phrase:
    """Return a phrase whose last word or number is a prefix."""
    last = phrase.terms[-1]
    is_word = unicodedata.category(last[-1])[0] in "LNM" and not _IS_RUN(last[0])
    return phrase._replace(open=phrase.open or is_word)


def count(joined: str, phrase: Phrase) -> int:
    """Return how often a phrase occurs in terms joined with a space before and after each."""
    return joined.count(f" {' '.join(phrase.terms)}{'' if phrase.open else ' '}")


def _split(folded: str) -> Iterator[tuple[str, int, int]]:
    for match in _TERM.finditer(folded):
        term, start, end = match[0], match.start(), match.end()
        if match.lastgroup:
            yield term[1], start, end
        elif _IS_RUN(term[0]):
            for position in range(start, end):
                pair = folded[position : min(position + 2, end)]
                yield pair, position, position + len(pair)
        else:
            yield term, start, end


@cache
def _flood() -> re.Pattern[str]:
    """Return the pattern of too many marks. Finding all marks takes 20 ms, which a process without a text saves."""
    marks = "".join(filter(unicodedata.combining, map(chr, range(0x300, 0x20000))))
    return re.compile(f"[{marks}]{{{MAX_MARKS + 1}}}")


def _is_decomposed(text: str) -> bool:
    return not text.isascii() and bool(
        _flood().search(text) or not unicodedata.is_normalized("NFC", text) or VOICED.search(text)
    )


def _compose(cluster: str) -> str:
    if len(cluster) == 1:
        return cluster
    return unicodedata.normalize("NFKC" if VOICED.search(cluster) else "NFC", cluster)


def _clusters(text: str) -> Iterator[str]:
    """Yield each character together with those that may compose with it: marks, later letters of a syllable."""
    start = 0
    for position, character in enumerate(islice(text, 1, None), 1):
        joins = (
            unicodedata.category(character)[0] == "M" or "\u1160" <= character <= "\u11ff" or VOICED.match(character)
        )
        if not joins or position - start > MAX_MARKS:
            yield text[start:position]
            start = position
    if text:
        yield text[start:]
