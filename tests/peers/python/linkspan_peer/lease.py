"""The holder's side of the instance's lease (DAEMONS.md, hello and the lease)."""

import time
from collections.abc import Callable

from .author import Author
from .calls import Calls
from .errors import LeaseLost
from .log import log

VERSION = "python-peer"
#: a holder stops before the core lets anybody else in
MARGIN = 0.9
LONGEST_PAUSE_S = 1.0


class Lease:
    def __init__(self, author: Author, calls: Calls, boot_id: str, greeted: Callable[[dict], None]) -> None:
        self._author = author
        self._calls = calls
        self._boot_id = boot_id
        #: told each answer, for what it says besides the lease
        self._greeted = greeted
        self._write_until = 0.0
        self._stay_until = 0.0
        self._renew_at = 0.0

    def take(self, stopped: Callable[[], bool]) -> bool:
        """Asks until the instance is ours. :returns: False when told to stop before"""
        waiting = False
        while not stopped():
            asked_at = time.monotonic()
            answer = self._calls.ask("core", "hello", self._hello(stays=True))
            self._greeted(answer)
            lease = answer["lease"]
            if lease["state"] == "held":
                self._author.epoch = lease["epoch"]
                self._held(lease, asked_at)
                log("lease.held", epoch=lease["epoch"])
                return True
            if not waiting:
                log("lease.waiting")
            waiting = True
            until = time.monotonic() + min(lease["retry_after_ms"] / 1_000, LONGEST_PAUSE_S)
            while time.monotonic() < until and not stopped():
                self._calls.turn()
        return False

    def is_held(self) -> bool:
        return time.monotonic() < self._write_until

    def renew(self) -> None:
        """Asks when it is time and does not wait: the answer comes with the others."""
        if self._author.epoch is None or time.monotonic() < self._renew_at:
            return
        asked_at = time.monotonic()
        self._renew_at = asked_at + 1

        def answered(payload: dict) -> None:
            if "error" in payload:
                return
            self._greeted(payload)
            lease = payload["lease"]
            if lease["state"] != "held" or lease["epoch"] != self._author.epoch:
                raise LeaseLost
            self._held(lease, asked_at)

        self._calls.send("core", "hello", self._hello(epoch=self._author.epoch, stays=True), "_", answered)

    def renew_now(self) -> None:
        self._renew_at = 0.0

    def hold(self) -> None:
        """Returns while the instance is held. Until it is renewed nothing is said; after its second end it is lost."""
        if self._author.epoch is None or self.is_held():
            return
        log("lease.mute")
        while not self.is_held():
            if time.monotonic() > self._stay_until:
                raise LeaseLost
            self.renew()
            self._calls.turn()

    def give_back(self) -> None:
        self._calls.ask("core", "hello", self._hello(epoch=self._author.epoch, leaving=True))

    def _hello(self, **more: object) -> dict:
        return {"boot_id": self._boot_id, "version": VERSION, **more}

    def _held(self, lease: dict, asked_at: float) -> None:
        ttl = lease["ttl_ms"] / 1_000
        self._write_until = max(self._write_until, asked_at + ttl * MARGIN)
        stay = lease.get("stay_ms", lease["ttl_ms"]) / 1_000 - ttl * (1 - MARGIN)
        self._stay_until = max(self._stay_until, asked_at + stay)
        self._renew_at = asked_at + ttl / 3
