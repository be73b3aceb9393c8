"""Signatures and the keys behind them (contract section 4)."""

import hashlib
import time

from cryptography.exceptions import InvalidSignature
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey, Ed25519PublicKey

from .encoding import b64u, seconds, unb64u
from .errors import Refused

ENVELOPE_TYPE = "application/vnd.msgr.bridge.v1+json"
TICKET_TYPE = "application/vnd.msgr.ticket.v1+json"
BATCH_TYPE = "application/vnd.linkspan.batch.v1"
ENROLMENT_TYPE = "application/vnd.linkspan.enrolment.v1+json"


def pae(kind: str, body: bytes) -> bytes:
    """DSSE's pre-authentication encoding; lengths are counts of bytes."""
    return b"DSSEv1 %d %s %d %s" % (len(kind.encode()), kind.encode(), len(body), body)


def thumbprint(public_key: bytes) -> str:
    """RFC 7638, the key id."""
    jwk = '{"crv":"Ed25519","kty":"OKP","x":"' + b64u(public_key) + '"}'
    return b64u(hashlib.sha256(jwk.encode()).digest())


def signed_by_root(message: bytes, proof: bytes) -> tuple[bytes, bytes]:
    """What the key signed for the batch that `message` belongs to, and the signature (contract section 4)."""
    head, signature, path = proof[:5], proof[5:69], proof[69:]
    index, size = int.from_bytes(head[1:3], "big"), int.from_bytes(head[3:5], "big")
    if head[:1] != b"\x01" or len(path) % 32 != 0 or not path or size > 1_024 or index >= size:
        raise Refused("envelope.bad_signature", "it is neither 64 bytes nor a signature of a batch")
    node, last = hashlib.sha256(b"\x00" + message).digest(), size - 1
    for start in range(0, len(path), 32):
        beside = path[start : start + 32]
        if last == 0:
            raise Refused("envelope.bad_signature", "the proof is too long")
        if index % 2 == 1 or index == last:
            node = hashlib.sha256(b"\x01" + beside + node).digest()
            while index % 2 == 0 and index != 0:
                index, last = index // 2, last // 2
        else:
            node = hashlib.sha256(b"\x01" + node + beside).digest()
        index, last = index // 2, last // 2
    if last != 0:
        raise Refused("envelope.bad_signature", "the proof is too short")
    return pae(BATCH_TYPE, size.to_bytes(4, "big") + node), signature


class Signer:
    def __init__(self, seed: bytes) -> None:
        self._key = Ed25519PrivateKey.from_private_bytes(seed)
        self.public_key = self._key.public_key().public_bytes_raw()
        self.kid = thumbprint(self.public_key)

    def sign(self, kind: str, body: bytes) -> str:
        return b64u(self._key.sign(pae(kind, body)))


class KeyRing:
    """The core's keys: pinned at enrolment, replaced by what a proven `hello` says."""

    def __init__(self, records: list[dict]) -> None:
        self._records: dict[str, dict] = {}
        self.replace(records)

    def replace(self, records: list[dict]) -> None:
        of_core = {record["kid"]: record for record in records if "core" in record["issuers"]}
        for kid, record in of_core.items():
            public_key = unb64u(record["public_key_b64u"])
            if public_key is None or thumbprint(public_key) != kid:
                raise Refused("envelope.unknown_key", "a key id is not the thumbprint of its key")
        if of_core:
            self._records = of_core

    def get(self, kid: str) -> dict | None:
        return self._records.get(kid)

    def seal_key(self) -> bytes | None:
        """To whom credentials are sealed on their way back: the newest of the core's seal keys."""
        with_seal = [record for record in self._records.values() if "seal_b64u" in record]
        newest = max(with_seal, key=lambda record: record["not_before"], default=None)
        return None if newest is None else unb64u(newest["seal_b64u"])

    def prove(self, kind: str, purpose: str, body: bytes, kid: str | None, sig: str | None, now: float) -> dict:
        """The record of the key that signed these bytes and is in force for this purpose."""
        if kid is None or sig is None:
            raise Refused("envelope.unsigned", "there is no signature")
        record = self.get(kid)
        if record is None:
            raise Refused("envelope.unknown_key", "no key has this id")
        if "revoked_at" in record and seconds(record["revoked_at"]) <= now:
            raise Refused("envelope.revoked_key", "the key was revoked")
        if seconds(record["not_after"]) <= now:
            raise Refused("envelope.revoked_key", "the key has run out")
        if seconds(record["not_before"]) > now or purpose not in record["purposes"]:
            raise Refused("envelope.unknown_key", f"the key is not in force for signing a {purpose}")
        signature, message = unb64u(sig), pae(kind, body)
        if signature is None:
            raise Refused("envelope.bad_signature", "it is not base64url")
        if len(signature) != 64:
            message, signature = signed_by_root(message, signature)
        public_key = Ed25519PublicKey.from_public_bytes(unb64u(record["public_key_b64u"]) or b"")
        try:
            public_key.verify(signature, message)
        except InvalidSignature as error:
            raise Refused("envelope.bad_signature", "it does not match the bytes") from error
        return record


def covers(names: list[str], name: str) -> bool:
    return name in names or "*" in names


def now() -> float:
    return time.time()
