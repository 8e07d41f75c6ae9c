"""Messages from one callback to another: left under a key, read by whoever knows the key."""

from __future__ import annotations

from collections.abc import Hashable, Sequence
from dataclasses import dataclass
from enum import Enum
from typing import Any

from tt_loop.errors import LoopTypeError, LoopValueError

__all__ = ["Message", "MessageHandling", "MessageService"]


class MessageHandling(Enum):
    """How long a message stays; `OVERWRITE` alone stays until the next message under its key."""

    KEEP_FOREVER = "keep forever"
    UNTIL_END_OF_EPOCH = "until end of epoch"
    UNTIL_READ = "until read"
    OVERWRITE = "overwrite"
    """Remove all earlier messages under the key."""


@dataclass(frozen=True, slots=True)
class Message:
    """A value and how long it stays."""

    key: Hashable
    value: Any
    msg_handling_settings: frozenset[MessageHandling]


class MessageService:
    """Keeps messages by key, in the order in which they were written.

    Example:
        >>> messages = MessageService()
        >>> messages.write_message("paths", "a.png")
        >>> messages.write_message("paths", "b.png")
        >>> messages.read_messages("paths")
        ['a.png', 'b.png']
        >>> messages.end_of_epoch_trigger()
        >>> messages.read_messages("paths") is None
        True
    """

    def __init__(self) -> None:
        self.message_store: dict[Hashable, list[Message]] = {}

    def read_messages(self, key: Hashable) -> list[Any] | None:
        """The values under a key, the oldest first; ``None`` where there are none."""
        messages = self.message_store.get(key)
        if messages is None:
            return None
        self._drop(key, MessageHandling.UNTIL_READ)
        return [message.value for message in messages]

    def write_message(
        self,
        key: Hashable,
        value: Any,
        msg_handling_settings: MessageHandling
        | Sequence[MessageHandling] = MessageHandling.UNTIL_END_OF_EPOCH,
    ) -> None:
        """Leave a value under a key.

        Args:
            key: What readers ask for.
            value: Anything; it is kept as it is.
            msg_handling_settings: One setting or several: of ``UNTIL_READ`` and
                ``UNTIL_END_OF_EPOCH``, what comes first ends the message.

        Raises:
            LoopTypeError: For a setting that is no `MessageHandling`.
            LoopValueError: For no setting, or for settings that contradict each other.
        """
        settings = self.validate_msg_handling_settings(msg_handling_settings)
        if MessageHandling.OVERWRITE in settings:
            self.message_store.pop(key, None)
        self.message_store.setdefault(key, []).append(Message(key, value, settings))

    def end_of_epoch_trigger(self) -> None:
        """Remove the messages that stay until the end of the epoch."""
        for key in list(self.message_store):
            self._drop(key, MessageHandling.UNTIL_END_OF_EPOCH)

    @staticmethod
    def validate_msg_handling_settings(
        msg_handling_settings: MessageHandling | Sequence[MessageHandling],
    ) -> frozenset[MessageHandling]:
        """The settings as a set; raises what `write_message` raises."""
        one = isinstance(msg_handling_settings, MessageHandling)
        given: Any = [msg_handling_settings] if one else msg_handling_settings
        if isinstance(given, str) or not all(isinstance(each, MessageHandling) for each in given):
            msg = f"A setting must be a MessageHandling or a list of them, got {given!r}."
            raise LoopTypeError(msg)
        settings = frozenset(given)
        ends = settings & {MessageHandling.UNTIL_READ, MessageHandling.UNTIL_END_OF_EPOCH}
        if not settings or (ends and MessageHandling.KEEP_FOREVER in settings):
            names = sorted(each.name for each in settings)
            msg = (
                "Settings must say how long a message stays, and KEEP_FOREVER goes with no "
                f"UNTIL_...; got {names}."
            )
            raise LoopValueError(msg)
        return settings

    def _drop(self, key: Hashable, ended: MessageHandling) -> None:
        kept = [each for each in self.message_store[key] if ended not in each.msg_handling_settings]
        if kept:
            self.message_store[key] = kept
        else:
            del self.message_store[key]
