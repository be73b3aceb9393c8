"""
Writes envelopes/vectors/{pae,notes,answers,tickets,hpke,rows,batches,signed-batches}.jsonl and ticket-keys.json.

It shares nothing with the packages that are tested, nor with `linkspan_peer`: canonical JSON is `json.dumps`, which is
enough for what stands here, and HPKE is RFC 9180 written out, because a vector needs a fixed ephemeral key.

    tests/peers/python/.venv/bin/python tests/peers/python/make_vectors.py
"""

import base64
import hashlib
import json
import uuid
from pathlib import Path

from cryptography.hazmat.primitives import hashes, hmac
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey
from cryptography.hazmat.primitives.asymmetric.x25519 import X25519PrivateKey, X25519PublicKey
from cryptography.hazmat.primitives.ciphers.aead import AESGCM

VECTORS = Path(__file__).parents[3] / "envelopes" / "vectors"
SEEDS = json.loads((VECTORS / "seeds.json").read_text())
CORE = Ed25519PrivateKey.from_private_bytes(bytes.fromhex(SEEDS["core_seed_hex"]))
DAEMON = Ed25519PrivateKey.from_private_bytes(bytes.fromhex(SEEDS["daemon_seed_hex"]))
STRANGER = Ed25519PrivateKey.from_private_bytes(hashlib.sha256(b"a stranger").digest())
ENVELOPE = "application/vnd.msgr.bridge.v1+json"
TICKET = "application/vnd.msgr.ticket.v1+json"
INSTANCE = "libera"
ISSUER = f"daemon:irc:{INSTANCE}"
WORKSPACE = "acme"
IDENTITY = "7c3f1c1e-2f0e-4b3a-9d67-0e5a3f0f9a11"
ROOM = f"msgr://channels/{WORKSPACE}/bridge/irc/libera/%23linkspan"
#: 2026-11-20T12:00:00Z, at which all keys of keys.json that count are in force
NOW = 1_795_176_000
PARTITIONS = 8


def b64u(data: bytes) -> str:
    return base64.urlsafe_b64encode(data).decode().rstrip("=")


def sha256(data: bytes) -> bytes:
    return hashlib.sha256(data).digest()


def jcs(value: object) -> bytes:
    """Enough where names are ASCII and numbers are small integers."""
    return json.dumps(value, sort_keys=True, separators=(",", ":"), ensure_ascii=False).encode()


def pae(kind: str, body: bytes) -> bytes:
    return b" ".join([b"DSSEv1", str(len(kind.encode())).encode(), kind.encode(), str(len(body)).encode(), body])


def kid_of(key: Ed25519PrivateKey) -> str:
    x = b64u(key.public_key().public_bytes_raw())
    return b64u(sha256(jcs({"crv": "Ed25519", "kty": "OKP", "x": x})))


def instant(millis: int) -> str:
    seconds = NOW + millis // 1_000 - 1_795_176_000
    return f"2026-11-20T12:{seconds // 60:02d}:{seconds % 60:02d}.{millis % 1_000:03d}Z"


def trace_of(message_id: str) -> str:
    digest = int.from_bytes(base64.urlsafe_b64decode(message_id + "=")[:16], "big")
    digest = digest & ~(0xF << 76) | (0x8 << 76)
    digest = digest & ~(0x3 << 62) | (0x2 << 62)
    return str(uuid.UUID(int=digest))


def route_of(envelope: dict) -> str:
    metadata, payload = envelope["metadata"], envelope["payload"]
    key = None
    if envelope["service"] not in ("core", "vault"):
        key = (
            metadata.get("conversation")
            or metadata.get("identity_id")
            or payload.get("account")
            or metadata.get("in_reply_to")
        )
    partition = 0 if key is None else int(sha256(key.encode())[:4].hex(), 16) % PARTITIONS
    shard = "_" if metadata["instance"] == "primary" else metadata["instance"]
    return f"{envelope['service']}.{shard}.{envelope['action']}.p{partition:02d}"


def signed(name: str, identity: list, envelope: dict, key: Ed25519PrivateKey = DAEMON) -> dict:
    body = jcs(envelope)
    return {
        "name": name,
        "identity": identity,
        "message_id": envelope["metadata"]["message_id"],
        "trace_id": trace_of(envelope["metadata"]["message_id"]),
        "routing_key": route_of(envelope),
        "envelope": envelope,
        "body_b64": base64.b64encode(body).decode(),
        "kid": kid_of(key),
        "sig": b64u(key.sign(pae(ENVELOPE, body))),
    }


def envelope_of(service: str, action: str, metadata: dict, payload: dict, trace: str | None = None) -> dict:
    return {
        "schema": "msgr.bridge.v1",
        "service": service,
        "action": action,
        "trace_id": trace or trace_of(metadata["message_id"]),
        "occurred_at": instant(250),
        "metadata": metadata,
        "payload": payload,
    }


def note(name: str, action: str, payload: dict, service: str = "irc", workspace: str = WORKSPACE, **more: str) -> dict:
    identity = ["note", ISSUER, action, str(uuid.uuid5(uuid.NAMESPACE_URL, name))]
    metadata = {
        "issuer": ISSUER,
        "workspace_id": workspace,
        "instance": INSTANCE if service == "irc" else "primary",
        "message_id": b64u(sha256(jcs(identity))),
        "epoch": 3,
        **more,
    }
    return signed(name, identity, envelope_of(service, action, metadata, payload))


def answer(name: str, action: str, outcome: str, attempt: int, payload: dict, identity_id: bool = True) -> dict:
    asked = payload.get("intent_id", INTENT)
    identity = ["answer", action, asked, outcome, attempt]
    metadata = {
        "issuer": ISSUER,
        "workspace_id": WORKSPACE,
        "instance": INSTANCE,
        "message_id": b64u(sha256(jcs(identity))),
        "epoch": 3,
        "in_reply_to": asked,
        **({"identity_id": IDENTITY} if identity_id else {}),
    }
    return signed(name, identity, envelope_of("irc", action, metadata, payload, trace_of(asked)))


INTENT = b64u(sha256(jcs(["intent", WORKSPACE, "order-1"])))
INTENT_2 = b64u(sha256(jcs(["intent", WORKSPACE, "order-2"])))


def paes() -> list[dict]:
    cases = [
        ("hello", "http://example.com/HelloWorld", b"hello world"),
        ("empty body", ENVELOPE, b""),
        ("bytes, not characters", ENVELOPE, "grüße 😀".encode()),
        ("a type beyond ASCII", "größe", b"x"),
        ("a body that is no text", TICKET, bytes(range(256))),
        ("a body that looks like a head", ENVELOPE, pae(TICKET, b"{}")),
    ]
    return [
        {"name": name, "type": kind, "body_hex": body.hex(), "pae_hex": pae(kind, body).hex()}
        for name, kind, body in cases
    ]


def notes() -> list[dict]:
    account = {"account": IDENTITY}
    reply = {"expires_at": instant(60_250)}

    def question(name: str, service: str, action: str, payload: dict, workspace: str = "_") -> dict:
        topic = {"reply_to": f"bridge/{service}/{action}/reply/{uuid.uuid5(uuid.NAMESPACE_URL, name)}"}
        return note(name, action, payload, service, workspace, **reply, **topic)

    return [
        note("health", "health", {"status": "ok", "identities": 2}, workspace="_"),
        note("state", "bridge_state", {**account, "state": "connected", "message": "Grüße an #linkspan."}),
        note("checkpoint", "checkpoint", {**account, "cursor": {"seq": 41}}),
        note("throttle", "throttle", {**account, "reason": "too fast", "retry_after_ms": 1_500}),
        question("hello", "core", "hello", {"boot_id": "b1", "version": "1", "epoch": 3}),
        question("resume", "core", "resume", {"boot_id": "b1", "cursor": ""}),
        question(
            "attempt", "core", "attempt", {"intent_id": INTENT, "attempt": 1, "part": 0, "parts": 2}, WORKSPACE
        ),
        question("release", "vault", "release", {"lease_id": "l-1"}, WORKSPACE),
    ]


def answers() -> list[dict]:
    at = instant(900)
    told = {"intent_id": INTENT, "attempt": 1, "at": at}
    code = {"code": "platform.forbidden", "detail": "The channel is moderated."}
    return [
        answer(
            "sent", "delivery_status", f"sent 0/2 {at}", 1, {**told, "part": 0, "parts": 2, "status": "sent", "remote_id": "m-1"}
        ),
        answer("failed", "delivery_status", f"failed 1/2 {at}", 1, {**told, "part": 1, "parts": 2, "status": "failed", **code}),
        answer(
            "uncertain",
            "delivery_status",
            f"uncertain 0/1 {at}",
            2,
            {**told, "attempt": 2, "part": 0, "parts": 1, "status": "uncertain", "code": "send.uncertain"},
        ),
        answer(
            "deferred",
            "deferred",
            f"deferred {instant(5_000)}",
            1,
            {"intent_id": INTENT, "attempt": 1, "until": instant(5_000), "reason": "platform.rate_limited"},
        ),
        answer("linked", "link_account", "linked", 1, {"status": "linked", "remote": "ada", "name": "Ada"}, False),
        answer(
            "refused", "link_account", "error", 1, {"error": {"code": "ticket.missing", "detail": "no ticket"}}, False
        ),
    ]  # fmt: skip


INTENT_ENVELOPE = {
    "action": "outbound_message",
    "payload": {"text": "hello, grüße"},
    "conversation": ROOM,
    "identity": IDENTITY,
    "user": "user-1",
}


def compact(claims: dict, key: Ed25519PrivateKey = CORE, kid: str | None = None, kind: str = TICKET) -> str:
    body = jcs(claims)
    return f"{kid or kid_of(key)}.{b64u(body)}.{b64u(key.sign(pae(kind, body)))}"


def tickets() -> list[dict]:
    send = {
        "jti": "t-1",
        "iss": "core",
        "aud": ISSUER,
        "cnf": kid_of(DAEMON),
        "workspace_id": WORKSPACE,
        "identity_id": IDENTITY,
        "service": "irc",
        "actions": ["outbound_message"],
        "capabilities": ["send"],
        "conversation": ROOM,
        "intent_hash": b64u(sha256(jcs(INTENT_ENVELOPE))),
        "attempt": 1,
        "lease_id": f"irc:{INSTANCE}:3",
        "policy_hash": b64u(sha256(b"policy")),
        "decision_id": INTENT,
        "iat": NOW,
        "nbf": NOW,
        "exp": NOW + 60,
    }
    times = {"iat": NOW, "nbf": NOW, "exp": NOW + 3_600}
    session = {name: send[name] for name in send if name not in ("conversation", "intent_hash", "attempt")}
    session = {**session, "actions": [], "capabilities": ["session"], **times}
    lines = [
        {"name": "send", "compact": compact(send), "claims": send},
        {"name": "session", "compact": compact(session), "claims": session},
        {"name": "at the end of the skew", "now": NOW + 60 + 29, "compact": compact(send), "claims": send},
    ]
    bad: list[tuple[str, str, str]] = [
        ("nothing", "", "ticket.missing"),
        ("two words", compact(send).rpartition(".")[0], "ticket.invalid"),
        ("four words", compact(send) + ".x", "ticket.invalid"),
        ("padded", compact(send) + "==", "ticket.invalid"),
        ("a stranger's key", compact(send, STRANGER), "ticket.invalid"),
        ("a stranger's signature", compact(send, STRANGER, kid_of(CORE)), "ticket.invalid"),
        ("the daemon's own key", compact(send, DAEMON), "ticket.invalid"),
        ("signed as an envelope", compact(send, kind=ENVELOPE), "ticket.invalid"),
        ("another issuer", compact({**send, "iss": ISSUER}), "ticket.invalid"),
        ("an unknown claim", compact({**send, "admin": True}), "ticket.invalid"),
        ("no intent", compact({k: v for k, v in send.items() if k != "intent_hash"}), "ticket.invalid"),
        ("no attempt", compact({k: v for k, v in send.items() if k != "attempt"}), "ticket.invalid"),
        ("too long a life", compact({**send, "exp": NOW + 61}), "ticket.invalid"),
        ("no life", compact({**send, "exp": NOW}), "ticket.invalid"),
        ("a session with a conversation", compact({**session, "conversation": ROOM}), "ticket.invalid"),
        ("another daemon", compact({**send, "aud": "daemon:irc:other"}), "ticket.wrong_audience"),
        ("another key", compact({**send, "cnf": kid_of(STRANGER)}), "ticket.wrong_audience"),
    ]
    refused = [{"name": name, "compact": text, "code": code} for name, text, code in bad]
    late = {"name": "ran out", "now": NOW + 60 + 30, "compact": compact(send), "code": "ticket.expired"}
    early = {"name": "not valid yet", "now": NOW - 31, "compact": compact(send), "code": "ticket.invalid"}
    body = json.dumps(send).encode()
    loose = f"{kid_of(CORE)}.{b64u(body)}.{b64u(CORE.sign(pae(TICKET, body)))}"
    all_of = [*lines, *refused, late, early, {"name": "not canonical", "compact": loose, "code": "ticket.invalid"}]
    return [{"now": NOW, "hash": b64u(sha256(line["compact"].encode())), **line} for line in all_of]


# RFC 9180, base mode: DHKEM(X25519, HKDF-SHA256), HKDF-SHA256, AES-256-GCM

KEM_SUITE = b"KEM" + (0x0020).to_bytes(2, "big")
HPKE_SUITE = b"HPKE" + b"".join(one.to_bytes(2, "big") for one in (0x0020, 0x0001, 0x0002))


def mac(key: bytes, data: bytes) -> bytes:
    work = hmac.HMAC(key or bytes(32), hashes.SHA256())
    work.update(data)
    return work.finalize()


def extract(salt: bytes, suite: bytes, label: bytes, secret: bytes) -> bytes:
    return mac(salt, b"HPKE-v1" + suite + label + secret)


def expand(secret: bytes, suite: bytes, label: bytes, info: bytes, length: int) -> bytes:
    text = length.to_bytes(2, "big") + b"HPKE-v1" + suite + label + info
    return mac(secret, text + b"\x01")[:length]


def hpke_seal(recipient: X25519PublicKey, ephemeral: X25519PrivateKey, info: bytes, plain: bytes) -> tuple[bytes, bytes]:
    enc = ephemeral.public_key().public_bytes_raw()
    context = enc + recipient.public_bytes_raw()
    eae = extract(b"", KEM_SUITE, b"eae_prk", ephemeral.exchange(recipient))
    shared = expand(eae, KEM_SUITE, b"shared_secret", context, 32)
    schedule = b"\x00" + extract(b"", HPKE_SUITE, b"psk_id_hash", b"") + extract(b"", HPKE_SUITE, b"info_hash", info)
    secret = extract(shared, HPKE_SUITE, b"secret", b"")
    key = expand(secret, HPKE_SUITE, b"key", schedule, 32)
    nonce = expand(secret, HPKE_SUITE, b"base_nonce", schedule, 12)
    return enc, AESGCM(key).encrypt(nonce, plain, b"")


def prefixed(*parts: bytes) -> bytes:
    return b"".join(len(part).to_bytes(4, "big") + part for part in parts)


def sealed(name: str, fields: dict[str, bytes]) -> dict:
    recipient = X25519PrivateKey.from_private_bytes(sha256(b"recipient"))
    context = {
        "lease_id": "5b7e6c1a-0f2d-4a57-8d3c-1c9f0f1b2a3c",
        "daemon": ISSUER,
        "workspace_id": WORKSPACE,
        "identity_id": IDENTITY,
        "ticket_hash": b64u(sha256(b"a ticket")),
    }
    info = prefixed(b"linkspan.sealed.v1", *(value.encode() for value in context.values()))
    packed = prefixed(*(part for field in sorted(fields) for part in (field.encode(), fields[field])), b"")
    packed += bytes(-len(packed) % 256)
    ephemeral = X25519PrivateKey.from_private_bytes(sha256(name.encode()))
    enc, ct = hpke_seal(recipient.public_key(), ephemeral, info, packed)
    return {
        "name": name,
        "private_key": b64u(recipient.private_bytes_raw()),
        "public_key": b64u(recipient.public_key().public_bytes_raw()),
        "context": context,
        "info_hex": info.hex(),
        "fields_b64u": {field: b64u(value) for field, value in fields.items()},
        "packed_hex": packed.hex(),
        "enc": b64u(enc),
        "ct": b64u(ct),
    }


def hpkes() -> list[dict]:
    return [
        sealed("one field", {"password": "grüße 😀".encode()}),
        sealed("in order of names", {"token": b"t", "password": b"p", "sasl.password": b"s", "channel_key:#a": b"k"}),
        sealed("no fields", {}),
        sealed("an empty value", {"password": b""}),
        sealed("exactly one block", {"password": bytes(236)}),
        sealed("more than one block", {"session": bytes(range(256)) * 3}),
    ]


def sealed_rows(name: str, direction: str, version: int, cursor: str, rows: dict[str, bytes | None]) -> dict:
    recipient = X25519PrivateKey.from_private_bytes(sha256(b"recipient"))
    context = {
        "direction": direction,
        "daemon": ISSUER,
        "workspace_id": WORKSPACE,
        "identity_id": IDENTITY,
        "version": version,
        "cursor": cursor,
    }
    info = prefixed(b"linkspan.rows.v1", *(str(value).encode() for value in context.values()))
    parts: list[bytes] = []
    for row, value in sorted((row.encode(), value) for row, value in rows.items()):
        parts += [row, b"delete", b""] if value is None else [row, b"put", value]
    packed = prefixed(*parts, b"")
    packed += bytes(-len(packed) % 256)
    ephemeral = X25519PrivateKey.from_private_bytes(sha256(b"rows: " + name.encode()))
    enc, ct = hpke_seal(recipient.public_key(), ephemeral, info, packed)
    return {
        "name": name,
        "private_key": b64u(recipient.private_bytes_raw()),
        "public_key": b64u(recipient.public_key().public_bytes_raw()),
        "context": context,
        "info_hex": info.hex(),
        "rows_b64u": {row: None if value is None else b64u(value) for row, value in rows.items()},
        "packed_hex": packed.hex(),
        "enc": b64u(enc),
        "ct": b64u(ct),
    }


def rows() -> list[dict]:
    names = {"session/b": b"2", "session/a": b"1", "gone": None, "grüße 😀": b"\x00\xff", "\ufb33": b"", "\U0001f600": b"last"}
    return [
        sealed_rows("the first commit", "commit", 0, "", {"account": bytes(range(200))}),
        sealed_rows("in order of the names' bytes", "commit", 7, "", names),
        sealed_rows("exactly one block", "commit", 8, "", {"k": bytes(236)}),
        sealed_rows("a first page", "load", 9, "", {"account": b"a", "session/a": b"1"}),
        sealed_rows("a further page", "load", 9, b64u(sha256(b"a row")), {"session/b": bytes(600)}),
    ]


def batches() -> list[dict]:
    at = instant(900)
    asks = [{"intent_id": INTENT, "attempt": 1, "part": 1, "parts": 2}, {"intent_id": INTENT_2, "attempt": 3, "part": 0, "parts": 1}]

    def status(intent: str, attempt: int, part: int, parts: int, word: str, **more: str) -> dict:
        identity = ["answer", "delivery_status", intent, f"{word} {part}/{parts} {at}", attempt]
        told = {"intent_id": intent, "attempt": attempt, "part": part, "parts": parts, "status": word, "at": at}
        return {**told, "message_id": b64u(sha256(jcs(identity))), "identity_id": IDENTITY, **more}

    statuses = [status(INTENT, 1, 1, 2, "sent", remote_id="m-2"), status(INTENT_2, 3, 0, 1, "failed", code="platform.forbidden")]
    acked = [{"message_id": INTENT, "status": "persisted"}, {"message_id": INTENT_2, "status": "quarantined", "code": "envelope.schema"}]
    topic = {"reply_to": f"bridge/core/attempt/reply/{uuid.uuid5(uuid.NAMESPACE_URL, 'asks')}"}
    asked = note("asks", "attempt", {"asks": asks}, "core", WORKSPACE, expires_at=instant(60_250), **topic)
    outcome = ["answer", "attempt", asked["message_id"], "ok", 1]
    decisions = [{"decision": "go", "window_ms": 15_000}, {"decision": "stop", "code": "ticket.replayed"}]
    of_core = {"issuer": "core", "workspace_id": WORKSPACE}
    answered = {**of_core, "instance": "primary", "message_id": b64u(sha256(jcs(outcome))), "in_reply_to": asked["message_id"]}
    ack = ["note", "core", "ack_event", "11111111-2222-4333-8444-555555555555"]
    acks = {**of_core, "instance": INSTANCE, "message_id": b64u(sha256(jcs(ack)))}
    return [
        asked,
        signed("answers", outcome, envelope_of("core", "attempt", answered, {"answers": decisions}, asked["trace_id"]), CORE),
        note("statuses", "delivery_statuses", {"statuses": statuses}),
        signed("acks", ack, envelope_of("irc", "ack_event", acks, {"account": IDENTITY, "acked": acked}), CORE),
    ]  # fmt: skip


def merkle(leaves: list[bytes]) -> bytes:
    """RFC 6962 section 2.1: MTH."""
    if len(leaves) == 1:
        return leaves[0]
    k = 1
    while k * 2 < len(leaves):
        k *= 2
    return sha256(b"\x01" + merkle(leaves[:k]) + merkle(leaves[k:]))


def audit_path(m: int, leaves: list[bytes]) -> list[bytes]:
    """RFC 6962 section 2.1.1: PATH."""
    if len(leaves) == 1:
        return []
    k = 1
    while k * 2 < len(leaves):
        k *= 2
    if m < k:
        return audit_path(m, leaves[:k]) + [merkle(leaves[k:])]
    return audit_path(m - k, leaves[k:]) + [merkle(leaves[:k])]


BATCH = "application/vnd.linkspan.batch.v1"


def batch_of(members: list[tuple[str, bytes]], key: Ed25519PrivateKey = CORE) -> list[bytes]:
    """The signature of each member: its place, the root's signature, and the way to the root."""
    leaves = [sha256(b"\x00" + pae(kind, body)) for kind, body in members]
    size = len(leaves)
    signature = key.sign(pae(BATCH, size.to_bytes(4, "big") + merkle(leaves)))
    return [
        b"\x01" + place.to_bytes(2, "big") + size.to_bytes(2, "big") + signature + b"".join(audit_path(place, leaves))
        for place in range(size)
    ]


def signed_batches() -> list[dict]:
    def line(name: str, kind: str, body: bytes, sig: bytes | str, code: str | None = None) -> dict:
        text = sig if isinstance(sig, str) else b64u(sig)
        vector = {"name": name, "type": kind, "body_hex": body.hex(), "kid": kid_of(CORE), "sig": text}
        return vector if code is None else {**vector, "code": code}

    made = []
    for size in (2, 3, 4, 5, 7, 8, 64, 1_000):
        members = [(TICKET if place % 3 == 1 else ENVELOPE, f"member {place} of {size}".encode()) for place in range(size)]
        sigs = batch_of(members)
        for place in sorted({0, 1, size // 2, size - 2, size - 1}):
            kind, body = members[place]
            made.append(line(f"member {place} of {size}", kind, body, sigs[place]))
    five = [(ENVELOPE, f"member {place}".encode()) for place in range(5)]
    sigs = batch_of(five)
    kind, body = five[2]
    sig = sigs[2]
    bad = "envelope.bad_signature"
    leaves = [sha256(b"\x00" + pae(*member)) for member in five]
    inner = b"\x01" + leaves[0] + leaves[1]
    too_large = batch_of([(ENVELOPE, str(place).encode()) for place in range(1_025)])
    refused = [
        ("another body", kind, b"member 3", sig),
        ("another type", TICKET, body, sig),
        ("the place of another member", kind, body, sigs[3]),
        ("another index", kind, body, sig[:1] + b"\x00\x03" + sig[3:]),
        ("an index beyond the size", kind, body, sig[:1] + b"\x00\x05" + sig[3:]),
        ("another size", kind, body, sig[:3] + b"\x00\x06" + sig[5:]),
        ("size 0", kind, body, sig[:3] + b"\x00\x00" + sig[5:]),
        ("another version", kind, body, b"\x02" + sig[1:]),
        ("a proof that is too short", kind, body, sig[:-32]),
        ("a proof that is too long", kind, body, sig + sig[-32:]),
        ("a proof that is cut", kind, body, sig[:-1]),
        ("no proof", kind, body, sig[:69]),
        ("an altered proof", kind, body, sig[:-1] + bytes([sig[-1] ^ 1])),
        ("an altered signature", kind, body, sig[:10] + bytes([sig[10] ^ 1]) + sig[11:]),
        ("signed by another key", kind, body, batch_of(five, DAEMON)[2]),
        ("an inner node for a member", kind, inner, sigs[0][:-96] + sigs[0][-64:]),
        ("more than 1,024 members", ENVELOPE, b"0", too_large[0]),
        ("with padding", kind, body, base64.urlsafe_b64encode(sig).decode() + "="),
    ]
    return made + [line(*case, bad) for case in refused]


def ticket_keys() -> dict:
    """The daemon's key may sign tickets by its purposes, but not by its issuers."""

    def record(key: Ed25519PrivateKey, issuer: str) -> dict:
        return {
            "kid": kid_of(key),
            "public_key_b64u": b64u(key.public_key().public_bytes_raw()),
            "issuers": [issuer],
            "purposes": ["envelope", "ticket"],
            "services": ["*"],
            "workspaces": ["*"],
            "not_before": "2026-01-01T00:00:00.000Z",
            "not_after": "2036-01-01T00:00:00.000Z",
        }

    return {"keys": [record(CORE, "core"), record(DAEMON, ISSUER)]}


def main() -> None:
    made = {
        "pae": paes(),
        "notes": notes(),
        "answers": answers(),
        "tickets": tickets(),
        "hpke": hpkes(),
        "rows": rows(),
        "batches": batches(),
        "signed-batches": signed_batches(),
    }
    for name, lines in made.items():
        text = "".join(json.dumps(line, ensure_ascii=True) + "\n" for line in lines)
        (VECTORS / f"{name}.jsonl").write_text(text)
    (VECTORS / "ticket-keys.json").write_text(json.dumps(ticket_keys(), indent=1) + "\n")


if __name__ == "__main__":
    main()
