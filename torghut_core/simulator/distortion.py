"""What faults do to the stream of messages on its way out: duplicates, overtaking, broken elements."""

from __future__ import annotations

import heapq
from collections.abc import Sequence
from random import Random

from torghut_core.exchange.messages import Message
from torghut_core.simulator.faults import FaultPanel

_BROKEN_FRAMES = (b'[{"T":"t","S":"', b"not json at all", b"[[[", b'{"T":"q"')
_FRAME_SHARE = 0.2
_BROKEN_ELEMENTS = (
    b'{"T":"t","S":"%s","i":1,"x":"V","p":"many","s":1,"c":["@"],"z":"C","t":"2024-01-02T15:00:00Z"}',
    b'{"T":"t","S":"%s","i":2,"x":"V","p":10.0,"s":1,"c":["@"],"z":"C","t":"yesterday"}',
    b'{"T":"t","S":"%s"}',
    b'{"T":"?","S":"%s"}',
)


class Distortion:
    """Applies the faults that are on. With none on, messages pass as they are."""

    def __init__(self, faults: FaultPanel, seed: int) -> None:
        self._faults = faults
        self._random = Random(f"{seed}:distortion")
        self._held: list[tuple[int, int, Message]] = []
        self._count = 0
        self._broken_frames: list[bytes] = []

    @property
    def holds_messages(self) -> bool:
        """Whether messages are held back to be overtaken."""
        return bool(self._held)

    def apply(self, messages: Sequence[Message], now_ns: int) -> Sequence[Message]:
        """Return what goes out at `now_ns` of `messages` and of what was held back before."""
        faults = self._faults
        if faults.is_on("duplicates"):
            share = faults.parameter("duplicates", "share")
            messages = [copy for message in messages for copy in self._repeated(message, share)]
        if faults.is_on("malformed"):
            share = faults.parameter("malformed", "share")
            messages = [each for message in messages for each in self._accompanied(message, share)]
        if faults.is_on("out_of_order"):
            messages = self._overtake(messages, now_ns, faults.parameter("out_of_order", "max_ms") * 1_000_000)
        elif self._held:
            messages = [held for _, _, held in sorted(self._held, key=lambda item: item[:2])] + list(messages)
            self._held = []
        return messages

    def _repeated(self, message: Message, share: float) -> tuple[Message, ...]:
        return (message, message) if self._random.random() < share else (message,)

    def _accompanied(self, message: Message, share: float) -> tuple[Message, ...]:
        if self._random.random() >= share:
            return (message,)
        if self._random.random() < _FRAME_SHARE:
            self._broken_frames.append(self._random.choice(_BROKEN_FRAMES))
            return (message,)
        raw = self._random.choice(_BROKEN_ELEMENTS) % message.symbol.encode()
        broken = Message(message.at_ns, message.event_ns, message.kind, message.symbol, raw)
        return (broken, message)

    def _overtake(self, messages: Sequence[Message], now_ns: int, max_delay_ns: int) -> list[Message]:
        for message in messages:
            self._count += 1
            due_ns = message.at_ns + self._random.randint(0, max_delay_ns)
            heapq.heappush(self._held, (due_ns, self._count, message))
        due: list[Message] = []
        while self._held and self._held[0][0] <= now_ns:
            due.append(heapq.heappop(self._held)[2])
        return due

    def take_broken_frames(self) -> list[bytes]:
        """Return the frames that are no messages and go out with the batch just distorted."""
        frames, self._broken_frames = self._broken_frames, []
        return frames
