"""Uploads that are too large are refused when they are announced, not when they have arrived.

The one thing a reader would get wrong: viser collects an upload in memory before it tells anybody,
so the limit has to be checked before viser's own handlers. What a client announces is not trusted:
what arrives is counted, too.
"""

from collections.abc import Callable
from typing import Any, cast

import viser
from viser import _messages as messages


def limit_uploads(
    client: viser.ClientHandle, most_bytes: int, refuse: Callable[[str], object]
) -> None:
    """Limit what a browser window uploads at a time.

    Args:
        most_bytes: all unfinished uploads of the window together.
        refuse: called with the reason if an upload is not accepted.
    """
    # viser has no public place for a limit; what is used of its private parts has no types.
    gui, connection = cast(Any, client.gui), cast(Any, client)._websock_connection
    theirs = gui._handle_file_transfer_start, gui._handle_file_transfer_part
    left: dict[str, int] = {}
    """Bytes that may still come, by upload."""

    def end(message: Any) -> None:
        # The browser waits until its parts are acknowledged; this ends its progress bar.
        connection.queue_message(
            messages.FileTransferPartAck(
                source_component_uuid=message.source_component_uuid,
                transfer_uuid=message.transfer_uuid,
                transferred_bytes=1,
                total_bytes=1,
            )
        )

    def start(client_id: Any, message: Any) -> None:
        if message.size_bytes + sum(left.values()) > most_bytes:
            end(message)
            refuse(
                f"The file has {message.size_bytes / 1e6:.1f} MB; at most {most_bytes / 1e6:g} MB "
                "can be uploaded. Cut the clip or make it smaller."
            )
            return
        left[message.transfer_uuid] = message.size_bytes
        theirs[0](client_id, message)
        if message.part_count == 0:
            left.pop(message.transfer_uuid)

    def part(client_id: Any, message: Any) -> None:
        transfer = message.transfer_uuid
        if transfer not in left:
            return
        left[transfer] -= len(message.content)
        if left[transfer] < 0:
            del left[transfer]
            gui._current_file_upload_states.pop(transfer, None)
            refuse("The file is larger than was announced.")
            return
        theirs[1](client_id, message)
        if left[transfer] == 0:
            del left[transfer]

    kinds = (messages.FileTransferStartUpload, messages.FileTransferPart)
    for kind, before, now in zip(kinds, theirs, (start, part), strict=True):
        connection.unregister_handler(kind, before)
        connection.register_handler(kind, now)
