"""Sealed credentials (contract section 8): HPKE base mode over one packed form of named fields."""

from cryptography.exceptions import InvalidTag
from cryptography.hazmat.primitives.asymmetric.x25519 import X25519PrivateKey, X25519PublicKey
from cryptography.hazmat.primitives.hpke import AEAD, KDF, KEM, Suite

from .encoding import b64u, unb64u
from .errors import Refused

ENC_BYTES = 32
PAD_TO = 256
SUITE = Suite(KEM.X25519, KDF.HKDF_SHA256, AEAD.AES_256_GCM)


def length_prefixed(parts: list[bytes]) -> bytes:
    return b"".join(len(part).to_bytes(4, "big") + part for part in parts)


def seal_info(lease_id: str, daemon: str, workspace: str, identity: str, ticket_hash: str) -> bytes:
    parts = ["linkspan.sealed.v1", lease_id, daemon, workspace, identity, ticket_hash]
    return length_prefixed([part.encode() for part in parts])


def pack(fields: dict[str, bytes]) -> bytes:
    parts = [part for name in sorted(fields) for part in (name.encode(), fields[name])]
    packed = length_prefixed(parts) + bytes(4)
    return packed + bytes(-len(packed) % PAD_TO)


def unpack(data: bytes) -> dict[str, bytes]:
    fields: dict[str, bytes] = {}
    at = 0
    previous = ""
    while True:
        name, at = _next(data, at)
        if not name:
            break
        value, at = _next(data, at)
        text = name.decode("utf-8")
        if text <= previous:
            raise Refused("vault.unavailable", "its fields are not in order")
        fields[text] = value
        previous = text
    if any(data[at:]):
        raise Refused("vault.unavailable", "bytes follow its fields")
    return fields


def _next(data: bytes, at: int) -> tuple[bytes, int]:
    length = int.from_bytes(data[at : at + 4], "big")
    end = at + 4 + length
    if at + 4 > len(data) or end > len(data):
        raise Refused("vault.unavailable", "its fields are cut off")
    return data[at + 4 : end], end


def seal(public_key: bytes, info: bytes, fields: dict[str, bytes]) -> dict[str, str]:
    sealed = SUITE.encrypt(pack(fields), X25519PublicKey.from_public_bytes(public_key), info)
    return {"enc": b64u(sealed[:ENC_BYTES]), "ct": b64u(sealed[ENC_BYTES:])}


def unseal(private_key: bytes, info: bytes, sealed: dict[str, str]) -> dict[str, bytes]:
    enc, ct = unb64u(sealed["enc"]), unb64u(sealed["ct"])
    if enc is None or ct is None:
        raise Refused("vault.unavailable", "a sealed credential is not base64url")
    try:
        packed = SUITE.decrypt(enc + ct, X25519PrivateKey.from_private_bytes(private_key), info)
    except (InvalidTag, ValueError) as error:
        raise Refused("vault.unavailable", "it does not open with this key and context") from error
    return unpack(packed)
