"""Raw requests that RFC 9112 rejects, or accepts with a status, each with its name."""

from __future__ import annotations

LOGIN = b'{"username":"nobody","password":"x"}'


def get(*fields: bytes, line: bytes = b"GET /healthz HTTP/1.1", host: bytes = b"Host: parley") -> bytes:
    return b"\r\n".join([line, *([host] if host else []), *fields, b"", b""])


def post(*fields: bytes, body: bytes = LOGIN, line: bytes = b"POST /api/auth/login HTTP/1.1") -> bytes:
    return get(b"Content-Type: application/json", *fields, line=line) + body


def chunks(body: bytes = b"%X\r\n%b\r\n0\r\n\r\n" % (len(LOGIN), LOGIN)) -> bytes:
    return post(b"Transfer-Encoding: chunked", body=body)


def sized(value: bytes) -> bytes:
    return post(b"Content-Length: " + value)


def coded(value: bytes) -> bytes:
    return post(b"Transfer-Encoding: " + value, body=b"%X\r\n%b\r\n0\r\n\r\n" % (len(LOGIN), LOGIN))


SIZE = b"%d" % len(LOGIN)
REJECTED = {
    # Section 6: how long the body is
    "length and chunked": post(b"Content-Length: 4", b"Transfer-Encoding: chunked", body=b"0\r\n\r\n"),
    "chunked and length": post(b"Transfer-Encoding: chunked", b"Content-Length: 5", body=b"0\r\n\r\n"),
    "length and an empty coding": post(b"Content-Length: " + SIZE, b"Transfer-Encoding:"),
    "length and identity": post(b"Content-Length: " + SIZE, b"Transfer-Encoding: identity"),
    "chunked in 1.0": post(b"Transfer-Encoding: chunked", body=b"0\r\n\r\n", line=b"POST /api/auth/login HTTP/1.0"),
    "length and chunked in 1.0": post(
        b"Content-Length: 5", b"Transfer-Encoding: chunked", body=b"0\r\n\r\n", line=b"POST /api/auth/login HTTP/1.0"
    ),
    "length twice": post(b"Content-Length: " + SIZE, b"Content-Length: " + SIZE),
    "two lengths": post(b"Content-Length: " + SIZE, b"Content-Length: 5"),
    "length with a sign": sized(b"+" + SIZE),
    "length below zero": sized(b"-1"),
    "length as a list": sized(SIZE + b", " + SIZE),
    "length with a comma": sized(SIZE + b","),
    "empty length": sized(b""),
    "length in hexadecimal": sized(b"0x24"),
    "length with an underscore": sized(b"3_6"),
    "length with a point": sized(SIZE + b".0"),
    "length with a space": sized(b"3 6"),
    "length in other digits": sized("３６".encode()),
    "endless length": sized(b"9" * 5_000),
    "chunked twice": coded(b"chunked, chunked"),
    "chunked in two fields": post(b"Transfer-Encoding: chunked", b"Transfer-Encoding: chunked", body=b"0\r\n\r\n"),
    "chunked not last": coded(b"chunked, gzip"),
    "identity": coded(b"identity"),
    "something like chunked": coded(b"xchunked"),
    "chunked with a parameter": coded(b"chunked;q=1"),
    "chunked in quotes": coded(b'"chunked"'),
    "chunked with a comma": coded(b"chunked,"),
    "a comma and chunked": coded(b", chunked"),
    "empty coding": coded(b""),
    "chunked with a vertical tab": coded(b"\x0bchunked"),
    "chunked with a next line": coded(b"chunked\x85"),
    "chunked folded": post(b"Transfer-Encoding:\r\n chunked", body=b"0\r\n\r\n"),
    # Section 7.1: chunks
    "size with a prefix": chunks(b"0x5\r\n12345\r\n0\r\n\r\n"),
    "size with a sign": chunks(b"+5\r\n12345\r\n0\r\n\r\n"),
    "size below zero": chunks(b"-5\r\n12345\r\n0\r\n\r\n"),
    "size with an underscore": chunks(b"1_0\r\n0123456789abcdef\r\n0\r\n\r\n"),
    "size with a space before": chunks(b" 5\r\n12345\r\n0\r\n\r\n"),
    "size with a space after": chunks(b"5 \r\n12345\r\n0\r\n\r\n"),
    "no size": chunks(b"\r\n5\r\n12345\r\n0\r\n\r\n"),
    "an extension alone": chunks(b";a=b\r\n12345\r\n0\r\n\r\n"),
    "enormous size": chunks(b"f" * 16 + b"\r\n12345"),
    "endless size": chunks(b"0" * 100_000),
    "endless extension": chunks(b"5;" + b"x" * 100_000),
    "bare LF after the size": chunks(b"5\n12345\r\n0\r\n\r\n"),
    "bare LF in an extension": chunks(b"5;\n12345\r\n0\r\n\r\n"),
    "bare CR in an extension": chunks(b"5;a\rb\r\n12345\r\n0\r\n\r\n"),
    "NUL in an extension": chunks(b"5;a\x00\r\n12345\r\n0\r\n\r\n"),
    "a chunk without its end": chunks(b"5\r\n123450\r\n\r\n"),
    "a chunk with a bare LF": chunks(b"5\r\n12345\n0\r\n\r\n"),
    "a chunk with a bare CR": chunks(b"5\r\n12345\r0\r\n\r\n"),
    "a chunk that is longer": chunks(b"5\r\n123456\r\n0\r\n\r\n"),
    "an empty line between chunks": chunks(b"5\r\n12345\r\n\r\n0\r\n\r\n"),
    "a trailer that is none": chunks(b"0\r\nno colon\r\n\r\n"),
    "a trailer with a bare LF": chunks(b"0\r\nA: b\nC: d\r\n\r\n"),
    "an endless trailer": chunks(b"0\r\nA: " + b"x" * 100_000),
    # Section 5: fields
    "a space before the colon": get(b"Content-Length : 0"),
    "a tab before the colon": get(b"A\t: b"),
    "no name": get(b": b"),
    "no colon": get(b"A b"),
    "a space before the first": get(host=b" Host: parley"),
    "folded": get(b"A: b\r\n c"),
    "folded with a tab": get(b"A: b\r\n\tc"),
    "NUL in a value": get(b"A: b\x00c"),
    "bare CR in a value": get(b"A: b\rc"),
    "bare LF in a value": get(b"A: b\nContent-Length: 5"),
    "bare LF at the end": get(b"A: b\n"),
    "control in a value": get(b"A: b\x01c"),
    "NUL in a name": get(b"A\x00: b"),
    "a name in other letters": get("Ä: b".encode()),
    "a name with brackets": get(b"A[]: b"),
    "bare LFs": b"GET /healthz HTTP/1.1\nHost: parley\n\n",
    "bare LFs at the end": b"GET /healthz HTTP/1.1\r\nHost: parley\n\n",
    # Section 3: the request line
    "two spaces": get(line=b"GET  /healthz HTTP/1.1"),
    "a space in the target": get(line=b"GET /health z HTTP/1.1"),
    "a space at the end": get(line=b"GET /healthz HTTP/1.1 "),
    "a space at the start": get(line=b" GET /healthz HTTP/1.1"),
    "tabs": get(line=b"GET\t/healthz\tHTTP/1.1"),
    "no version": get(line=b"GET /healthz"),
    "no target": get(line=b"GET HTTP/1.1"),
    "HTTP/0.9": b"GET /healthz\r\n\r\n",
    "HTTP/2.0": get(line=b"GET /healthz HTTP/2.0"),
    "HTTP/1": get(line=b"GET /healthz HTTP/1"),
    "HTTP/1.10": get(line=b"GET /healthz HTTP/1.10"),
    "HTTP/01.1": get(line=b"GET /healthz HTTP/01.1"),
    "http/1.1": get(line=b"GET /healthz http/1.1"),
    "the preface of HTTP/2": b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n",
    "a method in small letters": get(line=b"get /healthz HTTP/1.1"),
    "a mixed method": get(line=b"Get /healthz HTTP/1.1"),
    "a method that is no token": get(line=b"GE(T /healthz HTTP/1.1"),
    "a fragment": get(line=b"GET /healthz#x HTTP/1.1"),
    "NUL in the target": get(line=b"GET /health\x00z HTTP/1.1"),
    "raw bytes in the target": get(line=b"GET /\xc3\xa4 HTTP/1.1"),
    "a target without a slash": get(line=b"GET healthz HTTP/1.1"),
    "an authority": get(line=b"CONNECT parley:80 HTTP/1.1"),
    "an asterisk": get(line=b"GET * HTTP/1.1"),
    "another scheme": get(line=b"GET ftp://parley/healthz HTTP/1.1"),
    "a user in the target": get(line=b"GET http://a@parley/healthz HTTP/1.1"),
    "no host in the target": get(line=b"GET http:///healthz HTTP/1.1"),
    "half an address in the target": get(line=b"GET http://[::1/healthz HTTP/1.1"),
    # Section 3.2: Host
    "no Host": get(host=b""),
    "an empty Host": get(host=b"Host:"),
    "two Hosts": get(b"Host: parley"),
    "two different Hosts": get(b"Host: other"),
    "Host as a list": get(host=b"Host: parley, other"),
    "Host with a path": get(host=b"Host: parley/x"),
    "Host with a user": get(host=b"Host: a@parley"),
    "Host with a space": get(host=b"Host: par ley"),
    "Host with a wrong port": get(host=b"Host: parley:http"),
    "no Host, and a whole target": get(line=b"GET http://parley/healthz HTTP/1.1", host=b""),
}  # fmt: skip
ACCEPTED = {
    "plain": (get(), 200),
    "HTTP/1.2": (get(line=b"GET /healthz HTTP/1.2"), 200),
    "chunked in 1.2": (
        post(b"Transfer-Encoding: chunked", body=b"0\r\n\r\n", line=b"POST /api/auth/login HTTP/1.2"), 400
    ),
    "a whole target": (get(line=b"GET http://parley/healthz HTTP/1.1"), 200),
    "a whole target for another host": (get(line=b"GET HTTPS://parley:8443?x HTTP/1.1", host=b"Host: other"), 200),
    "an address": (get(host=b"Host: [::1]:8080"), 200),
    "empty lines before": (b"\r\n\r\n" + get(), 200),
    "no space after the colon": (get(b"A:b"), 200),
    "spaces around a value": (get(b"A: \t b \t "), 200),
    "many spaces": (get(b"A:" + b" " * 100_000), 200),
    "an empty value": (get(b"A:"), 200),
    "other bytes in a value": (get("A: ä".encode()), 200),
    "another field with an underscore": (get(b"Content_Length: 5", b"Transfer_Encoding: chunked"), 200),
    "length": (sized(SIZE), 401),
    "length with zeros": (sized(b"000" + SIZE), 401),
    "a body of nothing": (post(b"Content-Length: 0", body=b""), 400),
    "a body that a GET has": (get(b"Content-Length: 5") + b"12345", 200),
    "chunked": (chunks(), 401),
    "Chunked": (coded(b"Chunked"), 401),
    "many chunks": (chunks(b"".join(b"1\r\n%c\r\n" % byte for byte in LOGIN) + b"0\r\n\r\n"), 401),
    "sizes with zeros, extensions, a trailer": (
        chunks(b'0024;a;b="c d"\r\n' + LOGIN + b"\r\n000;x\r\nA: b\r\nC:\r\n\r\n"), 401,
    ),
}  # fmt: skip
