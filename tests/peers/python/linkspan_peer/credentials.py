"""Credentials leased from the vault: checked out with a ticket, renewed, written back, released (section 8)."""

import time

from .calls import Calls
from .errors import Refused
from .identity import CredentialLease
from .keys import KeyRing
from .sealed import seal, seal_info, unseal
from .tickets import ticket_hash


class Credentials:
    def __init__(self, calls: Calls, keys: KeyRing, daemon: str, seal_private: bytes) -> None:
        self._calls = calls
        self._keys = keys
        self._daemon = daemon
        self._seal_private = seal_private

    def check_out(self, workspace: str, identity: str, ticket: str) -> CredentialLease:
        asked_at = time.monotonic()
        answer = self._calls.ask("vault", "checkout", {"ticket": ticket, "scope": "session"}, workspace)
        fields: dict[str, bytes] = {}
        shown = ticket_hash(ticket)
        if "sealed" in answer:
            info = seal_info(answer["lease_id"], self._daemon, workspace, identity, shown)
            fields = unseal(self._seal_private, info, answer["sealed"])
        renew_at = asked_at + answer["ttl_ms"] / 2_000
        return CredentialLease(answer["lease_id"], answer["version"], shown, renew_at, fields)

    def renew(self, workspace: str, lease: CredentialLease) -> None:
        asked_at = time.monotonic()
        answer = self._calls.ask("vault", "renew", {"lease_id": lease.id}, workspace)
        lease.renew_at = asked_at + answer["ttl_ms"] / 2_000

    def write_back(self, workspace: str, identity: str, lease: CredentialLease, fields: dict[str, bytes]) -> None:
        """Keeps changed fields, unless somebody else has changed them since they were checked out."""
        seal_key = self._keys.seal_key()
        if seal_key is None:
            raise Refused("vault.unavailable", "the core has announced no seal key")
        info = seal_info(lease.id, self._daemon, workspace, identity, lease.ticket_hash)
        payload = {"lease_id": lease.id, "version": lease.version, "sealed": seal(seal_key, info, fields)}
        lease.version = self._calls.ask("vault", "write_back", payload, workspace)["version"]
        lease.fields = fields

    def release(self, workspace: str, lease: CredentialLease) -> None:
        lease.fields = {}
        self._calls.ask("vault", "release", {"lease_id": lease.id}, workspace)
