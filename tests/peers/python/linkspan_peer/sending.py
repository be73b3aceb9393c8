"""
One intent, from its delivery to its settlement (DAEMONS.md, saying something).

The delivery is acknowledged only after the broker has confirmed what is reported of it.
"""

import os
import time
from collections.abc import Callable
from urllib.parse import unquote

from .author import Author
from .bus import Bus, Delivery
from .calls import Calls
from .errors import Refused
from .identity import Identity
from .keys import KeyRing, now
from .log import log
from .platform import EchoPlatform
from .tickets import attempt_named, prove_intent

MAX_PART = 100
#: the last moment of a window is not used: a write takes time to leave
MARGIN_S = 0.25


class Sending:
    def __init__(
        self,
        bus: Bus,
        author: Author,
        calls: Calls,
        keys: KeyRing,
        kid: str,
        platform: EchoPlatform,
        identity_of: Callable[[str], Identity | None],
        hold: Callable[[], None],
        die_after_saying: str | None,
    ) -> None:
        self._bus = bus
        self._author = author
        self._calls = calls
        self._keys = keys
        self._kid = kid
        self._platform = platform
        self._identity_of = identity_of
        self._hold = hold
        self._die_after_saying = die_after_saying

    def settle(self, delivery: Delivery, intent: dict) -> None:
        attempt = attempt_named(intent["metadata"].get("ticket"))
        try:
            prove_intent(intent, self._keys, now(), self._author.issuer, self._kid)
        except Refused as error:
            self._refuse(delivery, intent, attempt, error)
        else:
            self._say(intent, attempt)
        self._bus.ack(delivery)

    def _refuse(self, delivery: Delivery, intent: dict, attempt: int, error: Refused) -> None:
        log("ticket.refused", code=error.code, detail=error.detail)
        wait_ms = 0 if error.code == "ticket.expired" else error.retry_after_ms
        if wait_ms is not None:
            self._bus.publish(self._author.deferred(intent, attempt, wait_ms / 1_000, error.code))
            return
        report = self._author.status(intent, attempt, 0, 1, "failed", code=error.code, detail=error.detail)
        self._bus.publish(report)
        self._bus.dead(delivery, error.code, error.detail)

    def _say(self, intent: dict, attempt: int) -> None:
        if intent["action"] != "outbound_message":
            self._failed(intent, attempt, "action.unsupported", f"{intent['action']} is not served here")
            return
        identity = self._identity_of(intent["metadata"]["identity_id"])
        if identity is None or not identity.connected:
            self._bus.publish(self._author.deferred(intent, attempt, 1, "platform.unavailable"))
            return
        parts = split(intent["payload"]["text"])
        if not parts:
            self._failed(intent, attempt, "request.invalid", "there is nothing to say")
            return
        for part, text in enumerate(parts):
            if not self._say_part(intent, attempt, identity, part, len(parts), text):
                return

    def _say_part(self, intent: dict, attempt: int, identity: Identity, part: int, parts: int, text: str) -> bool:
        """:returns: whether the next part may follow"""
        metadata = intent["metadata"]
        key = f"{metadata['message_id']}.{part}"
        asked_at = time.monotonic()
        question = {"intent_id": metadata["message_id"], "attempt": attempt, "part": part, "parts": parts}
        answer = self._calls.ask("core", "attempt", question, metadata["workspace_id"])
        decision = answer["decision"]
        log("attempt.answered", part=part, decision=decision)
        if decision == "sent":
            return True
        if decision == "stop":
            return False
        if decision == "go":
            self._hold()
            if time.monotonic() > asked_at + answer["window_ms"] / 1_000 - MARGIN_S:
                self._bus.publish(self._author.deferred(intent, attempt, 1, "bus.timeout"))
                return False
            channel = channel_of(metadata["conversation"])
            remote_id = self._platform.say(identity.id, key, channel, text)
            if text == self._die_after_saying:
                os._exit(9)
        else:
            # Somebody was granted it and never reported: only the platform can tell.
            found = self._platform.find(identity.id, key)
            if found is None:
                self._bus.publish(
                    self._author.status(intent, attempt, part, parts, "uncertain", code="send.uncertain")
                )
                return False
            remote_id = found
        self._bus.publish(self._author.status(intent, attempt, part, parts, "sent", remote_id=remote_id))
        log("part.sent", part=part, parts=parts)
        return True

    def _failed(self, intent: dict, attempt: int, code: str, detail: str) -> None:
        self._bus.publish(self._author.status(intent, attempt, 0, 1, "failed", code=code, detail=detail))


def split(text: str) -> list[str]:
    """The same text gives the same parts in another process, too."""
    return [text[at : at + MAX_PART] for at in range(0, len(text), MAX_PART)]


def channel_of(conversation: str) -> str:
    """`msgr://channels/<workspace>/bridge/<service>/<remote…>`"""
    return "/".join(map(unquote, conversation.split("/")[6:]))
