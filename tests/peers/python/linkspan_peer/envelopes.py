"""Envelopes: ids, topics, routing keys, writing and proving (contract sections 1 to 5)."""

import hashlib
import re
import uuid
from urllib.parse import quote

from .encoding import MAX_BYTES, b64u, canonical, parse_canonical, seconds, timestamp, unb64u
from .errors import Refused
from .keys import ENVELOPE_TYPE, KeyRing, Signer, covers

SCHEMA = "msgr.bridge.v1"
NAMESPACE_WORKSPACE = "_"
PRIMARY = "primary"
MEMBERS = {"schema", "service", "action", "trace_id", "occurred_at", "metadata", "payload"}
REQUIRED = {"issuer", "workspace_id", "instance", "message_id"}
OPTIONAL = {
    "conversation", "seq", "epoch", "user_id", "identity_id", "ticket", "expires_at", "reply_to", "in_reply_to",
}  # fmt: skip
DIGEST = re.compile(r"[A-Za-z0-9_-]{42}[AEIMQUYcgkosw048]")
INSTANT = re.compile(r"\d{4}-\d\d-\d\dT\d\d:\d\d:\d\d\.\d{3}Z")
MAX_AGE_S = 86_400
MAX_AHEAD_S = 300


def digest(value: object) -> str:
    return b64u(hashlib.sha256(canonical(value)).digest())


def event_id(workspace: str, service: str, home: str, account: str, kind: str, remote_id: str, revision: str) -> str:
    return digest(["event", workspace, service, home, account, "inbound_event", kind, remote_id, revision])


def answer_id(action: str, in_reply_to: str, outcome: str, attempt: int) -> str:
    return digest(["answer", action, in_reply_to, outcome, attempt])


def note_id(issuer: str, action: str, nonce: str) -> str:
    return digest(["note", issuer, action, nonce])


def trace_id_of(message_id: str) -> str:
    """UUIDv8 of the digest's first 16 bytes."""
    data = bytearray((unb64u(message_id) or b"")[:16])
    data[6] = (data[6] & 0x0F) | 0x80
    data[8] = (data[8] & 0x3F) | 0x80
    return str(uuid.UUID(bytes=bytes(data)))


def shard(instance: str) -> str:
    return "_" if instance == PRIMARY else instance


def ordering_key(envelope: dict) -> str | None:
    if envelope["service"] in ("core", "vault"):
        return None
    metadata = envelope["metadata"]
    account = envelope["payload"].get("account")
    return (
        metadata.get("conversation")
        or metadata.get("identity_id")
        or (account if isinstance(account, str) else None)
        or metadata.get("in_reply_to")
    )


def partition_of(key: str | None, partitions: int) -> int:
    if key is None:
        return 0
    return int.from_bytes(hashlib.sha256(key.encode()).digest()[:4], "big") % partitions


def routing_key(envelope: dict, partitions: int) -> str:
    partition = partition_of(ordering_key(envelope), partitions)
    instance = shard(envelope["metadata"]["instance"])
    return f"{envelope['service']}.{instance}.{envelope['action']}.p{partition:02d}"


def segment(text: str) -> str:
    """One segment of a reference: everything but unreserved characters is percent-encoded."""
    return quote(text, safe="-._~")


def channel_ref(workspace: str, service: str, *remote: str) -> str:
    return f"msgr://channels/{workspace}/bridge/{service}/" + "/".join(map(segment, remote))


def identity_ref(service: str, *remote: str) -> str:
    return f"msgr://identity/bridges/{service}/" + "/".join(map(segment, remote))


def envelope(service: str, action: str, metadata: dict, payload: dict, at: float, trace_id: str | None = None) -> dict:
    return {
        "schema": SCHEMA,
        "service": service,
        "action": action,
        "trace_id": trace_id or trace_id_of(metadata["message_id"]),
        "occurred_at": timestamp(at),
        "metadata": metadata,
        "payload": payload,
    }


def sign(value: dict, signer: Signer) -> tuple[bytes, str]:
    """Body and signature as they travel."""
    body = canonical(value)
    if len(body) > MAX_BYTES:
        raise Refused("envelope.too_large", f"{len(body)} bytes")
    return body, signer.sign(ENVELOPE_TYPE, body)


def open_envelope(
    body: bytes, kid: str | None, sig: str | None, keys: KeyRing, now: float, route: tuple[str, int] | None = None
) -> dict:
    """
    An envelope of the core, in the contract's order of checks (section 3).

    :param route: routing key that it arrived with and the namespace's count of partitions; None for a reply
    """
    if len(body) > MAX_BYTES:
        raise Refused("envelope.too_large", f"{len(body)} bytes")
    record = keys.prove(ENVELOPE_TYPE, "envelope", body, kid, sig, now)
    value = parse_canonical(body)
    check_form(value)
    assert isinstance(value, dict)
    metadata = value["metadata"]
    if route is not None and routing_key(value, route[1]) != route[0]:
        raise Refused("envelope.misrouted", "its routing key is not the one that the signed envelope implies")
    workspace = metadata["workspace_id"]
    reserved = value["service"] in ("core", "vault")
    if (
        metadata["issuer"] != "core"
        or "core" not in record["issuers"]
        or not (reserved or covers(record["services"], value["service"]))
        or not (workspace == NAMESPACE_WORKSPACE or covers(record["workspaces"], workspace))
    ):
        raise Refused("envelope.wrong_issuer", "only the core tells a daemon what to do")
    occurred = seconds(value["occurred_at"])
    if now - occurred > MAX_AGE_S or ("expires_at" in metadata and seconds(metadata["expires_at"]) <= now):
        raise Refused("envelope.expired", "it is past its expiry")
    if occurred - now > MAX_AHEAD_S:
        raise Refused("envelope.from_future", "dated more than five minutes ahead")
    return value


def check_form(value: object) -> None:
    """The envelope's own schema; a payload's is checked by who uses it."""
    if not isinstance(value, dict) or set(value) != MEMBERS or value["schema"] != SCHEMA:
        raise Refused("envelope.schema", "not an envelope of msgr.bridge.v1")
    metadata = value["metadata"]
    if not isinstance(metadata, dict) or not isinstance(value["payload"], dict):
        raise Refused("envelope.schema", "metadata or payload is not an object")
    if not REQUIRED <= set(metadata) <= REQUIRED | OPTIONAL:
        raise Refused("envelope.schema", "metadata lacks a member or has one too many")
    texts = [value["service"], value["action"], *(metadata[name] for name in set(metadata) - {"seq", "epoch"})]
    if not all(isinstance(text, str) for text in texts):
        raise Refused("envelope.schema", "a member is not a string")
    if not DIGEST.fullmatch(metadata["message_id"]) or not INSTANT.fullmatch(str(value["occurred_at"])):
        raise Refused("envelope.schema", "message_id or occurred_at is malformed")


def intent_hash(value: dict) -> str:
    """What a ticket binds of an intent (section 5, content of an intent)."""
    metadata = value["metadata"]
    content = {
        "action": value["action"],
        "payload": value["payload"],
        "conversation": metadata.get("conversation"),
        "identity": metadata.get("identity_id"),
        "user": metadata.get("user_id"),
    }
    return digest({name: member for name, member in content.items() if member is not None})
