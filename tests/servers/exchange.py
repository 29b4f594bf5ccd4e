"""One request sent to a server as it stands, and its answer in a form that can be compared."""

import http.client
import json
import re
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from typing import Any
from urllib.parse import urlsplit

_BOUNDARY = re.compile(r"boundary=(\w+)")
_DIGEST = re.compile(r"sha256:[0-9a-f]{64}")
_LINE_END = b"\r\n"
_FIRST_ERROR = 400
# These headers tell how much time has passed.
_CLOCKS = {"X-Roadstead-Age", "X-Roadstead-Fresh-For"}
# So many random bytes occur once.
_UNMISTAKABLE = 8


@dataclass(frozen=True, slots=True)
class RawAnswer:
    """A complete response as http.client gave it."""

    status: int
    headers: tuple[tuple[str, str], ...]
    body: bytes


def send(
    base_url: str,
    method: str,
    target: str,
    *,
    headers: Iterable[tuple[str, str]] = (),
    body: bytes | None = None,
) -> RawAnswer:
    """Send one request on a connection of its own, with these headers and Host only."""
    address = urlsplit(base_url)
    assert address.hostname is not None
    connection = http.client.HTTPConnection(address.hostname, address.port, timeout=30)
    try:
        connection.putrequest(method, target, skip_accept_encoding=True)
        for name, value in headers:
            connection.putheader(name, value)
        if body is not None:
            connection.putheader("Content-Length", str(len(body)))
        connection.endheaders(body)
        response = connection.getresponse()
        try:
            content = response.read()
        except http.client.IncompleteRead as error:
            content = error.partial
        return RawAnswer(response.status, tuple(response.getheaders()), content)
    finally:
        connection.close()


class Names:
    """Puts words in the place of what is long or changes, so that a person can read an answer."""

    def __init__(
        self, contents: Mapping[str, bytes], digests: Mapping[str, str], *, origin: str
    ) -> None:
        """``origin`` is host and port of the upstream of both."""
        self._contents = contents
        self._words = {digest: f"<{name}>" for name, digest in digests.items()}
        self._words[origin] = "<origin>"

    def spell(self, text: str) -> str:
        """Put digests in the place of words."""
        for digest, word in self._words.items():
            text = text.replace(word, digest)
        return text

    def describe(self, answer: RawAnswer, *, is_head: bool) -> dict[str, str]:
        """Return the parts to compare: status, each header but Date, and the body.

        An error in the form of the spec has its code, message and detail as parts. The length of
        a body is left out where it only says how long that body is, and of an error to HEAD.
        """
        parts = {"status": str(answer.status)}
        for name, value in answer.headers:
            key = name.title()
            parts[key] = f"{parts[key]}, {value}" if key in parts else value
        parts.pop("Date", None)
        is_redundant = parts.get("Content-Length") == str(len(answer.body))
        if (is_head and answer.status >= _FIRST_ERROR) or (not is_head and is_redundant):
            parts.pop("Content-Length", None)
        content_type = parts.get("Content-Type", "")
        parts |= self._body(answer.body, content_type)
        parts["Content-Type"] = _BOUNDARY.sub("boundary=<boundary>", content_type)
        for key in _CLOCKS & parts.keys():
            assert parts[key].isdigit()
            parts[key] = "<seconds>"
        return {key: self._reworded(value) for key, value in parts.items() if value}

    def _body(self, body: bytes, content_type: str) -> Mapping[str, str]:
        boundary = _BOUNDARY.search(content_type)
        if boundary is not None:
            return {"body": self._multipart(body, boundary[1].encode())}
        if content_type.startswith("application/json"):
            document = json.loads(body) if body else None
            # What is spelled in another way is compared as it stands.
            if json.dumps(document, separators=(",", ":")).encode() + b"\n" == body:
                return self._document(document)
        return {"body": self._content(body)}

    def _document(self, document: Any) -> Mapping[str, str]:  # noqa: ANN401 - any JSON
        match document:
            case {"errors": [{"code": code, "message": message, **rest}]}:
                detail = json.dumps(rest["detail"]) if "detail" in rest else ""
                return {"error code": code, "error message": message, "error detail": detail}
            case {"name": name, "tags": [*tags]}:
                # The registry lists them in the order of its upstream's directory.
                return {"body": f"tags of {name}: {', '.join(sorted(tags)) or 'none'}"}
            case _:
                return {"body": json.dumps(document)}

    def _content(self, body: bytes) -> str:
        for name, content in self._contents.items():
            if body == content and body:
                return f"<{name}>"
            if len(body) >= _UNMISTAKABLE and (at := content.find(body)) >= 0:
                return f"<{name}>[{at}:{at + len(body)}]"
        text = body.decode(errors="replace")
        return "a schema 1 manifest" if '"schemaVersion": 1' in text else text

    def _multipart(self, body: bytes, boundary: bytes) -> str:
        """Write each part as its headers, in the order of their names, and its bytes."""
        written = []
        *parts, end = body.removeprefix(b"\r\n").split(b"--" + boundary)
        assert (parts[0], end) == (b"", b"--\r\n"), "not as RFC 2046 has it"
        for part in parts[1:]:
            head, _, content = part.removeprefix(b"\r\n").partition(b"\r\n\r\n")
            lines = sorted(head.decode().split("\r\n"))
            written.append(f"{', '.join(lines)}: {self._content(content.removesuffix(_LINE_END))}")
        return "; ".join(written)

    def _reworded(self, text: str) -> str:
        for digest, word in self._words.items():
            text = text.replace(digest, word).replace(digest.replace(":", "-"), f"sha256-{word}")
        return _DIGEST.sub("<another digest>", text)


def difference(theirs: Mapping[str, str], ours: Mapping[str, str]) -> dict[str, tuple[str, str]]:
    """Return the parts that are not equal; what is absent is an empty text."""
    return {
        part: (theirs.get(part, ""), ours.get(part, ""))
        for part in sorted({*theirs, *ours})
        if theirs.get(part, "") != ours.get(part, "")
    }
