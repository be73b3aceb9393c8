"""
The daemon's life: hold the instance, serve its identities, take what is to be said, until told to stop.

One thread does everything: it lets deliveries in, handles them one after the other, and renews the lease between them
and while it waits for an answer.
"""

import time
import uuid
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

from .author import Author
from .bus import Bus, Delivery
from .calls import Calls
from .credentials import Credentials
from .enrolment import Keys
from .envelopes import open_envelope, shard
from .errors import Refused
from .identity import Identity
from .keys import KeyRing, now
from .lease import Lease
from .links import Requests, announcement
from .log import log
from .platform import EchoPlatform
from .sending import Sending

SERVICE = "echo"
REQUESTS = ("link_account", "reauthenticate", "disconnect", "configure_bridge", "health_snapshot")
SENDS = ("outbound_message", "outbound_edit", "outbound_delete", "outbound_reaction", "outbound_typing", "outbound_read")
OTHERS = ("ack_event", "join_channel", "leave_channel", "request_history", "refresh_roster")
REFRESH_S = 60.0
CHECKPOINT_S = 0.5
MAX_PENDING = 256


@dataclass
class Settings:
    amqp_url: str
    instance: str
    platform: Path
    die_after_saying: str | None = None


class Daemon:
    """From taking the lease to losing it, or to a stop."""

    def __init__(self, settings: Settings, keys: Keys, boot_id: str, stopped: Callable[[], bool]) -> None:
        self._settings = settings
        self._keys = keys
        self._ring = KeyRing(keys.core_keys)
        self._boot_id = boot_id
        self._stopped = stopped
        instance = settings.instance
        self._bus = Bus(settings.amqp_url, SERVICE, instance, self._boot_id, keys.partitions, keys.signer)
        self._author = Author(SERVICE, instance)
        self._calls = Calls(self._bus, self._author, self._ring, lambda: self._lease.renew())
        self._lease = Lease(self._author, self._calls, boot_id, self._greeted)
        self._bus.before_publish = self._lease.hold
        self._credentials = Credentials(self._calls, self._ring, self._author.issuer, keys.seal_private)
        self._requests = Requests(self._bus, self._author, self._credentials)
        self._platform = EchoPlatform(settings.platform)
        self._sending = Sending(
            self._bus,
            self._author,
            self._calls,
            self._ring,
            keys.signer.kid,
            self._platform,
            lambda identity_id: self._identities.get(identity_id),
            self._lease.hold,
            settings.die_after_saying,
        )
        self._identities: dict[str, Identity] = {}
        self._refresh_at = 0.0
        self._checkpoints: dict[str, int] = {}
        self._checkpoint_at = 0.0

    def run(self) -> None:
        """:raises LeaseLost: another process holds the instance now"""
        try:
            if not self._lease.take(self._stopped):
                return
            self._begin()
            while not self._stopped():
                self._turn()
                self._refresh()
                while self._bus.inbox and not self._stopped():
                    self._handle(self._bus.inbox.popleft())
                self._read_platform()
            self._end()
        finally:
            self._bus.close()

    def _turn(self) -> None:
        self._lease.renew()
        self._calls.turn()

    def _greeted(self, answer: dict) -> None:
        if (answer["partitions"], answer["generation"]) != (self._keys.partitions, self._keys.generation):
            raise SystemExit("the namespace has other partitions than this daemon was enrolled for")
        self._ring.replace(answer["keys"])
        self._core_version = answer["version"]

    # The term

    def _begin(self) -> None:
        instance, partitions = self._settings.instance, self._keys.partitions
        prefix, name = f"{SERVICE}.{shard(instance)}", f"{SERVICE}.{instance}"
        sends = {f"{name}.p{partition:02d}": partition for partition in range(partitions)}
        for queue, partition in sends.items():
            self._bus.declare(queue, [f"{prefix}.{action}.p{partition:02d}" for action in SENDS])
            # The broker may take its time, and the lease does not wait.
            self._turn()
        self._bus.declare(f"{name}.control", [f"{prefix}.{action}.*" for action in REQUESTS + OTHERS])
        self._bus.consume(f"{name}.control")
        self._bus.declare_transient(f"{name}.changed.{self._boot_id}", ["core.*.changed.*"])
        self._bus.consume(f"{name}.changed.{self._boot_id}")
        self._bus.publish(self._author.note("capabilities", announcement(self._core_version)))
        self._refresh()
        for queue in sends:
            self._bus.consume(queue)
        self._tell_health()
        log("term.begun", identities=len(self._identities))

    def _end(self) -> None:
        for identity in list(self._identities.values()):
            self._close(identity, "transient_disconnect", "The daemon was stopped.")
        self._lease.give_back()
        log("term.ended")

    def _tell_health(self) -> None:
        self._bus.publish(self._author.note("health", {"status": "ok", "identities": len(self._identities)}))

    # Identities

    def _refresh(self) -> None:
        """Asks which identities are ours, opens those that are new, closes those that are not any more."""
        if time.monotonic() < self._refresh_at:
            return
        self._refresh_at = time.monotonic() + REFRESH_S
        assigned: dict[str, dict] = {}
        cursor: str | None = ""
        while cursor is not None:
            page = self._calls.ask("core", "resume", {"boot_id": self._boot_id, "cursor": cursor})
            assigned.update({told["identity_id"]: told for told in page["identities"]})
            cursor = page.get("cursor")
        for identity_id in set(self._identities) - set(assigned):
            self._close(self._identities[identity_id], "logged_out", "The account was disconnected.")
        for identity_id in set(assigned) - set(self._identities):
            self._open(Identity.resumed(assigned[identity_id]))

    def _open(self, identity: Identity) -> None:
        self._identities[identity.id] = identity
        self._state(identity, "connecting", "Connecting.")
        try:
            identity.lease = self._credentials.check_out(identity.workspace, identity.id, identity.ticket)
        except Refused as error:
            self._state(identity, "unknown_error", error.detail, code=error.code)
            return
        lease = identity.lease
        log("credential.opened", version=lease.version, fields=sorted(lease.fields))
        if lease.fields and "token" not in lease.fields:
            fields = {**lease.fields, "token": uuid.uuid4().hex.encode()}
            self._credentials.write_back(identity.workspace, identity.id, lease, fields)
            log("credential.kept", version=lease.version)
        identity.connected = True
        self._state(identity, "connected", "Connected.")
        log("identity.connected", place=identity.place)

    def _close(self, identity: Identity, state: str, message: str) -> None:
        identity.connected = False
        self._save_checkpoints(0)
        self._state(identity, state, message)
        if identity.lease is not None:
            self._credentials.release(identity.workspace, identity.lease)
        del self._identities[identity.id]

    def _state(self, identity: Identity, state: str, message: str, **more: str) -> None:
        told = {"account": identity.id, "state": state, "message": message, **more}
        self._bus.publish(self._author.note("bridge_state", told, identity.workspace))

    def _read_platform(self) -> None:
        for identity in [one for one in self._identities.values() if one.connected]:
            if identity.lease is not None and time.monotonic() > identity.lease.renew_at:
                self._credentials.renew(identity.workspace, identity.lease)
            for entry in self._platform.after(identity.id, identity.read):
                if len(identity.pending) >= MAX_PENDING:
                    break
                event = self._author.event(identity, entry, identity.read + 1)
                identity.read += 1
                identity.pending[event["metadata"]["message_id"]] = identity.read
                self._bus.publish(event)
        self._save_checkpoints(CHECKPOINT_S)

    def _save_checkpoints(self, every_s: float) -> None:
        """Only the newest place of each account, and not for each event."""
        if not self._checkpoints or time.monotonic() < self._checkpoint_at + every_s:
            return
        self._checkpoint_at = time.monotonic()
        for account, place in self._checkpoints.items():
            identity = self._identities.get(account)
            if identity is not None:
                told = {"account": account, "cursor": {"place": place}}
                self._bus.publish(self._author.note("checkpoint", told, identity.workspace))
        self._checkpoints.clear()

    # Deliveries

    def _handle(self, delivery: Delivery) -> None:
        self._lease.hold()
        try:
            route = (delivery.routing_key, self._keys.partitions)
            envelope = open_envelope(delivery.body, delivery.kid, delivery.sig, self._ring, now(), route)
        except Refused as error:
            log("delivery.refused", code=error.code)
            # What merely came too late is done with: the core expires it by itself.
            if error.code != "envelope.expired":
                self._bus.dead(delivery, error.code, error.detail)
            self._bus.ack(delivery)
            return
        action = envelope["action"]
        if action == "changed":
            self._changed(envelope["payload"])
            self._bus.ack(delivery)
        elif action == "ack_event":
            self._acknowledged(envelope["payload"])
            self._bus.ack(delivery)
        elif action in REQUESTS:
            self._requests.answer(delivery, envelope, len(self._identities))
            self._leave_disconnected()
        else:
            self._sending.settle(delivery, envelope)

    def _changed(self, payload: dict) -> None:
        if payload["what"] == "keys":
            self._lease.renew_now()
        ours = payload.get("service", SERVICE) == SERVICE
        if payload["what"] == "assignments" and ours:
            self._refresh_at = 0.0

    def _acknowledged(self, payload: dict) -> None:
        identity = self._identities.get(payload["account"])
        if identity is not None and identity.acknowledged([one["message_id"] for one in payload["acked"]]):
            self._checkpoints[identity.id] = identity.place
            log("events.acknowledged", place=identity.place)

    def _leave_disconnected(self) -> None:
        for identity_id in self._requests.disconnected:
            if identity_id in self._identities:
                self._close(self._identities[identity_id], "logged_out", "The account was disconnected.")
        self._requests.disconnected.clear()
