"""Texts for tests of the search."""

from __future__ import annotations

from hypothesis import strategies as st

# Characters that clients write, and that are hard to split: letters with marks, joiners, flags, runs, symbols, code.
PIECES = (
    "aZ9_-./+#: \n\tß€°─│éİıŁ\u0301\u0323\u200d\u200b\ufe0f🚀👍🏽🇩🇪👩北京ガが\u3099ﾊﾞ한\u1100\u1161\u11a8"
    "ก็\u0e33हि्مَ\u0640שָ½²₂™℃①ﬃ\x1f\x02\0\U000e0067\ufffe"
)
TEXT = st.one_of(st.text(max_size=60), st.text(st.sampled_from(PIECES), max_size=40))
