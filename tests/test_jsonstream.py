"""Large JSON, parsed in slices: the values are those of a parser that reads the whole.

The documents are generated from a seed: a hypothesis strategy that generates as many takes minutes.
"""

from __future__ import annotations

import io
import json
import random
import time
from contextlib import suppress
from typing import Any

import pytest

import json_values
import jsonstream
from errors import ApiError
from json_values import parse_json
from jsonstream import limits
from tests.helpers.waits import assert_below

SMALL_SIZES = (("LARGE_BYTES", 40), ("SLICE_BYTES", 24), ("GUESS_BYTES", 20))
TRICKY = ["},{", "}, {", '"},{"', "\\", '\\"', "[", "]]", "{}", "\n", "],[", "\x1f", "\u2028", "é", "😀", "", "ab", " "]
SCALARS = [None, True, False, 0, -1.5, 2**63, -(2**70), 1e300, "", "x"]
JSON_STYLES: list[dict[str, Any]] = [
    {},
    {"indent": 2},
    {"indent": 0},
    {"ensure_ascii": False},
    {"separators": (",", ":")},
    {"separators": (" ,\n", " :\t"), "ensure_ascii": False},
]
SEEDS = range(400)


class JsonGenerator(random.Random):
    """Generates values, and serializes them in one style or another."""

    def text(self) -> str:
        return "".join(self.choices(TRICKY, k=self.randrange(5)))

    def value(self, depth: int = 4) -> Any:
        kind = self.randrange(6 if depth else 3)
        if kind < 3:
            return self.choice(SCALARS) if kind else self.text()
        if kind == 3:
            return [self.value(depth - 1) for _ in range(self.randrange(5))]
        return self.object(depth)

    def object(self, depth: int = 4) -> dict[str, Any]:
        return {self.text(): self.value(depth - 1) for _ in range(self.randrange(4))}

    def list(self) -> list[Any]:
        return [self.value(3) for _ in range(self.randrange(12))]

    def any_value(self) -> Any:
        return self.value() if self.randrange(2) else self.list() if self.randrange(2) else self.object()

    def dumps(self, value: Any) -> bytes:
        return json.dumps(value, **self.choice(JSON_STYLES)).encode()


@pytest.fixture(autouse=True)
def small_sizes(request: pytest.FixtureRequest, monkeypatch: pytest.MonkeyPatch) -> None:
    """Count small documents as large, unless a test is of ``real_sizes``."""
    if "real_sizes" not in request.keywords:
        for name, size in SMALL_SIZES:
            monkeypatch.setattr(limits, name, size)


def load(raw: bytes, compact: jsonstream.Compact | None = None) -> Any:
    return jsonstream.load(io.BytesIO(raw), compact)


def outcome(parse: Any, raw: bytes) -> Any:
    try:
        return repr(parse(raw))  # which differs for 1, 1.0 and True
    except ValueError:
        return ValueError


def items(raw: bytes) -> list[tuple[int, Any]]:
    found = jsonstream.items(io.BytesIO(raw))
    return [(number, item.code if isinstance(item, ApiError) else item) for number, item in found]


def test_load_equals_parsing_the_whole() -> None:
    for seed in SEEDS:
        generator = JsonGenerator(seed)
        raw = b" " + generator.dumps(generator.any_value()) + b"\n"
        assert outcome(load, raw) == outcome(parse_json, raw) == repr(json.loads(raw)), raw


JUNK = [b"", b",", b"[", b"]", b"{", b"}", b'"', b"\\", b":", b"1", b" ", b"\n", b"\xff", b"x", b"[],"]


def test_load_rejects_what_parsing_the_whole_rejects() -> None:
    invalid = 0
    for seed in range(2_000):
        generator = JsonGenerator(seed)
        raw = bytearray(generator.dumps(generator.any_value()))
        for _ in range(generator.randrange(1, 4)):
            at = generator.randrange(len(raw) + 1)
            raw[at : at + generator.randrange(3)] = generator.choice(JUNK)
        expected = outcome(parse_json, bytes(raw))
        assert outcome(load, bytes(raw)) == expected, (seed, bytes(raw))
        invalid += expected is ValueError
    assert 500 < invalid < 1_900


def test_items_of_an_array_are_its_elements() -> None:
    for seed in SEEDS:
        generator = JsonGenerator(seed)
        raw = generator.dumps(generator.list()) + generator.choice([b"", b"\n", b" \r\n\n"])
        assert repr(items(raw)) == repr([*enumerate(json.loads(raw), 1)]), raw


BROKEN = [
    b"{",
    b"[",
    b'{"a',
    b'{"a":"',
    b'"',
    b"nul",
    b"{}{}",
    b'{"a":1} x',
    b"\xff",
    b'{"a":\x00}',
    b"{" * 300,
    b"[,]",
]


def test_invalid_line_is_one_invalid_item() -> None:
    for seed in SEEDS:
        generator = JsonGenerator(seed)
        lines = [
            generator.choice(BROKEN) if generator.random() < 0.3 else generator.object()
            for _ in range(generator.randrange(8))
        ]
        written = [line if isinstance(line, bytes) else json.dumps(line).encode() for line in lines]
        if written and written[0][:1] == b"[":
            continue  # an array, by its beginning
        blank = generator.randrange(2)
        raw = b"\n\n"[blank:].join(written)
        expected = [
            (at * (2 - blank) + 1, "invalid_json" if isinstance(line, bytes) else line) for at, line in enumerate(lines)
        ]
        assert repr(items(raw)) == repr(expected), (seed, raw)


def test_invalid_element_is_one_invalid_item() -> None:
    for seed in SEEDS:
        generator = JsonGenerator(seed)
        elements: list[Any] = [
            generator.choice([b"{nul}", b"[1,,2]", b'{"a"}', b"{1:2}", b"[01]"])
            if generator.random() < 0.3
            else generator.object()
            for _ in range(generator.randrange(8))
        ]
        raw = b"[%s]" % b",".join(each if isinstance(each, bytes) else generator.dumps(each) for each in elements)
        expected = ["invalid_json" if isinstance(each, bytes) else each for each in elements]
        assert repr(items(raw)) == repr([*enumerate(expected, 1)]), (seed, raw)


def test_truncated_array_yields_its_whole_elements() -> None:
    for seed in SEEDS:
        generator = JsonGenerator(seed)
        documents = [generator.object() | {"end": seed} for _ in range(generator.randrange(1, 6))]
        raw = json.dumps(documents).encode()
        cut_off = raw[: -generator.randrange(2, 9)]  # in the last one
        expected = [*enumerate(documents[:-1], 1), (len(documents), "invalid_json")]
        assert repr(items(cut_off)) == repr(expected), (seed, cut_off)
        assert repr(items(raw[:-1])) == repr([*enumerate(documents, 1), (len(documents) + 1, "invalid_json")])


def test_documents_may_span_lines() -> None:
    for seed in SEEDS:
        generator = JsonGenerator(seed)
        documents = [generator.object() for _ in range(generator.randrange(1, 5))]
        raw = generator.choice([b"", b"\xef\xbb\xbf", b"\n "])
        raw += b"\n".join(json.dumps(each, indent=1).encode() for each in documents)
        assert repr([item for _, item in items(raw)]) == repr(documents), (seed, raw)


def test_elements_of_a_large_array_are_compacted() -> None:
    for seed in SEEDS:
        generator = JsonGenerator(seed)
        values, other = generator.list() + [0] * 20, generator.any_value()
        raw = generator.dumps({"a": other, "messages": values, "b": other})
        assert repr(load(raw, lambda element: (element,))["messages"]) == repr([(each,) for each in values])
        assert repr(load(raw, lambda element: None)) == repr(json.loads(raw))


@pytest.mark.parametrize(
    "raw",
    [
        b"[" + b"[]," * 400_000 + b"[]]",
        b"[" + b"1," * 1_200_000 + b"1]",
        b'{"a":{' + b",".join(b'"%d":[]' % n for n in range(400_000)) + b"}}",
        b'{"a":[' + b"{}," * 500_000 + b"{}]}",
    ],
)
@pytest.mark.real_sizes
def test_rejects_more_values_than_the_limit(raw: bytes, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(limits, "MAX_VALUES", 100_000)
    with pytest.raises(ApiError) as raised:
        load(raw)
    assert "100,000 values" in str(raised.value.details)
    assert load(b'{"a":"%s"}' % (b",[{" * 500_000)) == {"a": ",[{" * 500_000}  # brackets in a string are no values


@pytest.mark.real_sizes
@pytest.mark.parametrize(
    "raw",
    [
        b'{"a":[%s1]}' % (b"1.23456789," * 500_000),
        b'{"a":[%s1]}' % (b'"abcdefgh",' * 500_000),
        b'{"a":[%s1]}' % (b'",[{\\"",' * 150_000),
        b'{"a":[%s1]}' % (b'"%s" ,\n' % (b"x" * 200_000) * 30),
        b'{"a":{%s}}' % b",".join(b'"key %d" : "a"' % number for number in range(300_000)),
        b'[{"b":true},%s{"b":[]}]' % (b"null,\n" * 900_000),
    ],
    ids=["numbers", "strings", "brackets in strings", "long strings", "members", "between objects"],
)
def test_text_without_brackets_is_parsed_in_slices(raw: bytes, monkeypatch: pytest.MonkeyPatch) -> None:
    lengths = []

    def parse(text: bytes) -> Any:
        lengths.append(len(text))
        return parse_json(text)

    monkeypatch.setattr(json_values, "parse_json", parse)
    assert load(raw) == json.loads(raw)
    assert max(lengths) < 4 * limits.SLICE_BYTES
    value = json.loads(raw)
    assert [item for _, item in items(raw)] == (value if isinstance(value, list) else [value])
    assert max(lengths) < 4 * limits.SLICE_BYTES


@pytest.mark.real_sizes
@pytest.mark.parametrize("before", [b"", b"1.", b"-", b"1,2,", b'"a",'])
def test_rejects_an_endless_number_unparsed(before: bytes, monkeypatch: pytest.MonkeyPatch) -> None:
    raw = b'{"a":[%s%s]}' % (before, b"1" * 5_000_000)
    monkeypatch.setattr(
        json_values, "parse_json", lambda text: parse_json(text) if len(text) < 1_000 else pytest.fail("parsed")
    )
    with pytest.raises(ValueError, match="number"):
        load(raw)


@pytest.mark.real_sizes
def test_rejects_strings_longer_than_the_limit() -> None:
    assert load(b'{"a":["%s"]}' % (b"x" * 10_000_000)) == {"a": ["x" * 10_000_000]}
    long = b'{"a":["%s"]}' % (b"x" * 17_000_000)
    with pytest.raises(ApiError, match="validation_error"):
        load(long)
    assert [item for _, item in items(b'[{"a":1},%s,{"b":2}]' % long)] == [{"a": 1}, "validation_error", {"b": 2}]


@pytest.mark.slow
@pytest.mark.real_sizes
@pytest.mark.parametrize(
    "part",
    [
        b"[],",
        b"{},",
        b'"",',
        b"1,",
        b"{\n",
        b'{"a":1,\n',
        b"[\n",
        b'"},{",',
        b'{"a":"},{"},',
        b'"\\"',
        b"\\",
        b"9",
        b"}\n",
        b'{"\n',
        b"[[[]]],",
    ],
)
@pytest.mark.parametrize("before", [b"", b"[", b'{"messages":[', b"{\n", b'"'])
def test_parsing_time_is_linear_in_length(before: bytes, part: bytes) -> None:
    def measure(count: int) -> float:
        raw = io.BytesIO(before + part * (count // len(part)))
        start = time.thread_time()
        for _ in jsonstream.items(raw):
            pass
        with suppress(ValueError, ApiError):
            jsonstream.load(raw)
        return max(time.thread_time() - start, 0.02)  # less than that is mostly the reading of the bytes

    # Both are longer than what is parsed at once. A quadratic time would be 16 times as long.
    assert_below(10, lambda: measure(4_800_000) / measure(1_200_000))
