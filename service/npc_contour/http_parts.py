"""The parts of a multipart message (RFC 2046 5.1), while it arrives."""

from __future__ import annotations

from collections.abc import Callable
from email.message import Message
from io import BytesIO
from typing import IO

from python_multipart.exceptions import MultipartParseError
from python_multipart.multipart import MultipartParser


class PartError(ValueError):
    """The bytes are no multipart message, or it is cut off."""


class PartTooLargeError(PartError):
    """A part is larger than is taken."""


class Parts:
    """Takes a message piece by piece and gives its parts, each as soon as it is whole.

    Args:
        boundary: between the parts.
        max_bytes: of one part.
        new_file: makes what holds a part while it comes; in memory unless given.
    """

    def __init__(self, boundary: str, max_bytes: int, new_file: Callable[[], IO[bytes]] = BytesIO) -> None:
        self._new_file = new_file
        self._part: IO[bytes] | None = None
        self._size = 0
        self._max_bytes = max_bytes
        self._whole: list[IO[bytes]] = []
        self._ended = False
        self._parser = MultipartParser(
            boundary, {"on_part_data": self._on_data, "on_part_end": self._on_part_end, "on_end": self._on_end}
        )

    @property
    def under_way(self) -> int:
        """How many bytes of a part that is not whole have come."""
        return self._size

    def feed(self, data: bytes) -> list[IO[bytes]]:
        """Take the next bytes of the message and return the bodies of the parts that are whole now, to be closed.

        Raises:
            PartError: they are none of such a message.
            PartTooLargeError: a part is larger than is taken.
        """
        try:
            self._parser.write(data)
        except MultipartParseError as error:
            raise PartError(str(error)) from error
        whole, self._whole = self._whole, []
        return whole

    def end(self) -> None:
        """The message is over; raises PartError where its closing delimiter did not come."""
        if not self._ended:
            raise PartError("it is cut off: no closing delimiter came")

    def close(self) -> None:
        """Let go of what has come of a part that is not whole, and of what was not asked for."""
        for file in (*self._whole, self._part):
            if file is not None:
                file.close()

    def _on_data(self, data: bytes, start: int, end: int) -> None:
        self._size += end - start
        if self._size > self._max_bytes:
            raise PartTooLargeError(f"a part of more than {self._max_bytes} bytes")
        if self._part is None:
            self._part = self._new_file()
        self._part.write(memoryview(data)[start:end])

    def _on_part_end(self) -> None:
        part = self._part or BytesIO()
        part.seek(0)
        self._whole.append(part)
        self._part, self._size = None, 0

    def _on_end(self) -> None:
        self._ended = True


def content_type(text: str) -> tuple[str, str, str]:
    """Read a Content-Type: media type, and its parameters `type` and `boundary`, each "" where it is not there."""
    message = Message()
    message["content-type"] = text.replace("\r", " ").replace("\n", " ")
    kind, boundary = message.get_param("type"), message.get_param("boundary")
    return (
        message.get_content_type() if text else "",
        str(kind).lower() if isinstance(kind, str) else "",
        boundary if isinstance(boundary, str) else "",
    )
