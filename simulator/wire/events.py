"""Server-sent events out of the bytes of a stream. Inputs are its bytes, wherever the network cut them.

Lines end with CR, LF or both; an event ends with an empty line; comments and fields other than ``data`` are passed over.
"""

import re

LINE_END = re.compile(rb"\r\n|\n|\r")


class Events:
    """A stream while it is read; ``held`` is what no line's end has followed yet."""

    def __init__(self) -> None:
        self.held = bytearray()
        self._data: list[bytes] = []

    def feed(self, content: bytes) -> list[bytes]:
        """The data of the events that end in these bytes."""
        self.held += content
        if b"\n" not in content and b"\r" not in content:
            return []
        half = self.held[-1:] == b"\r"  # may be half of a line's end
        *lines, rest = LINE_END.split(bytes(self.held[:-1] if half else self.held))
        self.held = bytearray(rest + b"\r" if half else rest)
        return self._events(lines)

    def end(self) -> list[bytes]:
        """The data of what is left when the stream has ended; a server that forgot the last empty line is forgiven."""
        lines = LINE_END.split(bytes(self.held))
        self.held.clear()
        return self._events([*lines, b""])

    def _events(self, lines: list[bytes]) -> list[bytes]:
        found = []
        for line in lines:
            if line.startswith(b"data:"):
                self._data.append(line[5:].removeprefix(b" "))
            elif not line and self._data:
                found.append(b"\n".join(self._data))
                self._data.clear()
        return found
