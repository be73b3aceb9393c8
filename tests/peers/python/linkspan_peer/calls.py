"""Questions to the core and the vault, each answered by a proven reply (DAEMONS.md, asking)."""

import time
from collections.abc import Callable

from .author import Author
from .bus import Bus, Delivery
from .envelopes import NAMESPACE_WORKSPACE, open_envelope
from .errors import Refused
from .keys import KeyRing, now

Answered = Callable[[dict], None]


class Calls:
    def __init__(self, bus: Bus, author: Author, keys: KeyRing, tick: Callable[[], None]) -> None:
        self._bus = bus
        self._author = author
        self._keys = keys
        #: called while an answer is waited for, so that the lease is renewed meanwhile
        self._tick = tick
        self._waiting: dict[str, tuple[dict, Answered]] = {}

    def send(self, service: str, action: str, payload: dict, workspace: str, answered: Answered) -> dict:
        question = self._author.question(service, action, payload, workspace)
        self._publish(question, answered)
        return question

    def ask(
        self, service: str, action: str, payload: dict, workspace: str = NAMESPACE_WORKSPACE, tries: int = 3
    ) -> dict:
        """The answer's payload. Without one the same bytes are sent again: they get the same answer."""
        answers: list[dict] = []
        question = self.send(service, action, payload, workspace, answers.append)
        for _ in range(tries):
            deadline = time.monotonic() + 5
            while not answers and time.monotonic() < deadline:
                self._tick()
                self.turn()
            if answers:
                return _payload(answers[0])
            self._publish(question, answers.append)
        self._waiting.pop(question["metadata"]["message_id"], None)
        raise Refused("bus.timeout", f"no answer to {action}")

    def turn(self) -> None:
        """Lets answers in and hands them to who waits; one that nobody waits for, or that is not proven, is dropped."""
        self._bus.wait(0.02)
        while self._bus.replies:
            self._answered(self._bus.replies.popleft())

    def _publish(self, question: dict, answered: Answered) -> None:
        self._waiting[question["metadata"]["message_id"]] = (question, answered)
        self._bus.publish(question, asks=True)

    def _answered(self, delivery: Delivery) -> None:
        waiting = self._waiting.get(delivery.correlation_id or "")
        if waiting is None:
            return
        question, answered = waiting
        try:
            envelope = open_envelope(delivery.body, delivery.kid, delivery.sig, self._keys, now())
        except Refused:
            return
        asked = question["metadata"]["message_id"]
        if envelope["metadata"].get("in_reply_to") != asked or envelope["action"] != question["action"]:
            return
        del self._waiting[asked]
        answered(envelope["payload"])


def _payload(payload: dict) -> dict:
    error = payload.get("error")
    if error is not None:
        raise Refused(error["code"], error["detail"], error.get("retry_after_ms"))
    return payload
