"""A parser for large JSON that reads a file in slices.

Parsing a large document in one go holds the interpreter lock, and with it everybody's requests
(35 MB: 0.25 s), and ``[],[],…`` takes thirty times its size in memory. Here it is parsed a slice at a
time. Where a slice may end is found by a regular expression that steps from bracket to bracket, or
guessed: if a slice of an array, put in brackets, is JSON, then it ends where an element of the array does.

``reader`` reads bytes at any offset, ``scanner`` finds brackets and commas, ``splitter`` yields slices,
``parser`` returns values, and ``sequences`` yields the elements of an array or the values of lines. The
terms are those of RFC 8259.
"""

from jsonstream.limits import LARGE_BYTES, check_values
from jsonstream.parser import Compact, load
from jsonstream.reader import seekable
from jsonstream.sequences import items

__all__ = ["LARGE_BYTES", "Compact", "check_values", "items", "load", "seekable"]
