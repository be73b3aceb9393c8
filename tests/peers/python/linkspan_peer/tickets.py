"""Impersonation tickets (contract section 7), checked in the order of DAEMONS.md."""

import hashlib

from .encoding import b64u, parse_canonical, unb64u
from .envelopes import intent_hash
from .errors import Refused
from .keys import TICKET_TYPE, KeyRing, covers

SKEW_S = 30
MAX_CHARACTERS = 8_192
LIFETIME_S = {"send": 60, "admin": 60, "sync": 300, "session": 3_600}
REQUIRED = {
    "jti", "iss", "aud", "cnf", "workspace_id", "identity_id", "service", "actions", "capabilities", "iat", "nbf", "exp",
}  # fmt: skip
OPTIONAL = {"conversation", "intent_hash", "attempt", "lease_id", "policy_hash", "decision_id"}


def ticket_hash(compact: str) -> str:
    return b64u(hashlib.sha256(compact.encode()).digest())


def open_ticket(compact: str | None, keys: KeyRing, now: float, daemon: str, kid: str) -> dict:
    """Claims of a ticket that the core minted for this daemon and its key."""
    if not compact:
        raise Refused("ticket.missing", "there is no ticket")
    words = compact.split(".")
    body = unb64u(words[1]) if len(words) == 3 and len(compact) <= MAX_CHARACTERS else None
    if body is None:
        raise Refused("ticket.invalid", "it is not kid.payload.sig")
    try:
        record = keys.prove(TICKET_TYPE, "ticket", body, words[0], words[2], now)
        claims = parse_canonical(body)
    except Refused as error:
        raise Refused("ticket.invalid", error.detail) from error
    check_claims(claims)
    assert isinstance(claims, dict)
    if claims["iss"] != "core" or "core" not in record["issuers"]:
        raise Refused("ticket.invalid", "its issuer may not mint tickets")
    if not covers(record["services"], claims["service"]) or not covers(record["workspaces"], claims["workspace_id"]):
        raise Refused("ticket.invalid", "its key does not cover this service and workspace")
    if now + SKEW_S < claims["nbf"]:
        raise Refused("ticket.invalid", "it is not valid yet", retry_after_ms=5_000)
    if now - SKEW_S >= claims["exp"]:
        raise Refused("ticket.expired", "the ticket ran out")
    if claims["aud"] != daemon or claims["cnf"] != kid:
        raise Refused("ticket.wrong_audience", "it was minted for another daemon or key")
    return claims


def check_claims(claims: object) -> None:
    if not isinstance(claims, dict) or not REQUIRED <= set(claims) <= REQUIRED | OPTIONAL:
        raise Refused("ticket.invalid", "a claim is missing or unknown")
    iat, nbf, exp, names = claims["iat"], claims["nbf"], claims["exp"], claims["capabilities"]
    if not names or not set(names) <= set(LIFETIME_S):
        raise Refused("ticket.invalid", "it grants something unknown")
    longest = min(LIFETIME_S[name] for name in names)
    if exp <= nbf or nbf < iat or exp - iat > longest:
        raise Refused("ticket.invalid", f"it does not live between 1 and {longest} s")
    if "send" in names and not {"intent_hash", "attempt"} <= set(claims):
        raise Refused("ticket.invalid", "a ticket to send names its intent and attempt")
    if "session" in names and "conversation" in claims:
        raise Refused("ticket.invalid", "a session has no conversation")


def prove_intent(envelope: dict, keys: KeyRing, now: float, daemon: str, kid: str) -> dict:
    """Holds an intent's ticket against the envelope that carries it."""
    metadata = envelope["metadata"]
    claims = open_ticket(metadata.get("ticket"), keys, now, daemon, kid)
    covered = [
        ("workspace", claims["workspace_id"] == metadata["workspace_id"]),
        ("identity", claims["identity_id"] == metadata.get("identity_id")),
        ("service", claims["service"] == envelope["service"]),
        ("action", envelope["action"] in claims["actions"]),
        ("conversation", claims.get("conversation") == metadata.get("conversation")),
        ("intent", claims.get("intent_hash") == intent_hash(envelope)),
    ]
    for name, holds in covered:
        if not holds:
            raise Refused("ticket.wrong_destination", f"the ticket does not cover this {name}")
    if "attempt" not in claims:
        raise Refused("ticket.invalid", "the ticket names no attempt")
    return claims


def attempt_named(compact: str | None) -> int:
    """The attempt that a ticket names, not proven; to say which publish a refusal answers."""
    words = (compact or "").split(".")
    try:
        claims = parse_canonical(unb64u(words[1]) or b"") if len(words) > 1 else {}
    except Refused:
        return 1
    attempt = claims.get("attempt") if isinstance(claims, dict) else None
    return attempt if isinstance(attempt, int) and attempt > 0 else 1
