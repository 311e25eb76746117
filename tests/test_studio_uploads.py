"""Uploads are limited when they are announced, and counted while they arrive."""

from types import SimpleNamespace
from typing import Any

import pytest
import viser
from viser import _messages as messages

from trajectorycrafter.studio.uploads import limit_uploads


class Line:
    """A window's connection: its handlers, and what was sent to it."""

    def __init__(self) -> None:
        self.sent: list[Any] = []
        self.taken: list[Any] = []
        self.states: dict[str, object] = {}
        self._handlers: dict[type, list[Any]] = {
            messages.FileTransferStartUpload: [self._start],
            messages.FileTransferPart: [self._part],
        }
        self.client: Any = viser.ClientHandle.__new__(viser.ClientHandle)
        self.client.gui = SimpleNamespace(
            _handle_file_transfer_start=self._start,
            _handle_file_transfer_part=self._part,
            _current_file_upload_states=self.states,
        )
        self.client._websock_connection = self

    def _start(self, client_id: int, message: Any) -> None:
        self.states[message.transfer_uuid] = message
        self.taken.append(message)

    def _part(self, client_id: int, message: Any) -> None:
        self.taken.append(message)

    def register_handler(self, kind: type, handler: Any) -> None:
        self._handlers[kind].append(handler)

    def unregister_handler(self, kind: type, handler: Any) -> None:
        self._handlers[kind].remove(handler)

    def queue_message(self, message: Any) -> None:
        self.sent.append(message)

    def receive(self, message: Any) -> None:
        (handler,) = self._handlers[type(message)]
        handler(0, message)


def start(size: int, transfer: str = "one", parts: int = 2) -> Any:
    return messages.FileTransferStartUpload("button", transfer, "a.mp4", "video/mp4", parts, size)


def part(size: int, index: int = 0, transfer: str = "one") -> Any:
    return messages.FileTransferPart("button", transfer, index, b"0" * size)


@pytest.fixture
def line() -> Line:
    return Line()


@pytest.fixture
def told(line: Line) -> list[str]:
    told: list[str] = []
    limit_uploads(line.client, 1_000_000, told.append)
    return told


def test_what_fits_is_passed_on(line: Line, told: list[str]) -> None:
    upload = [start(900_000), part(500_000), part(400_000, 1)]
    for message in upload:
        line.receive(message)
    assert line.taken == upload and told == []
    # Its room is free again.
    line.receive(start(900_000, "two"))
    assert len(line.taken) == 4


def test_too_large_is_refused_before_a_byte_came(line: Line, told: list[str]) -> None:
    line.receive(start(1_000_001))
    line.receive(part(500_000))
    assert line.taken == []
    assert told == [
        "The file has 1.0 MB; at most 1 MB can be uploaded. Cut the clip or make it smaller."
    ]
    assert [type(message).__name__ for message in line.sent] == ["FileTransferPartAck"]


def test_several_at_once_share_the_limit(line: Line, told: list[str]) -> None:
    line.receive(start(600_000, "one"))
    line.receive(start(600_000, "two"))
    assert len(line.taken) == 1 and len(told) == 1


def test_more_than_announced_is_dropped(line: Line, told: list[str]) -> None:
    line.receive(start(1_000))
    line.receive(part(900))
    line.receive(part(900, 1))
    assert line.states == {} and len(line.taken) == 2
    assert told == ["The file is larger than was announced."]
    line.receive(part(900, 2))
    assert len(line.taken) == 2


def test_an_empty_file_leaves_nothing_behind(line: Line, told: list[str]) -> None:
    line.receive(start(0, parts=0))
    line.receive(part(10))
    assert len(line.taken) == 1 and told == []
