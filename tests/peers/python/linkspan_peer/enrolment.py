"""Enrolment over HTTP (contract section 11), and the file that it leaves."""

import json
import os
import re
import secrets
import urllib.error
import urllib.request
from dataclasses import dataclass
from pathlib import Path

from cryptography.hazmat.primitives.asymmetric.x25519 import X25519PrivateKey

from .encoding import b64u, canonical
from .errors import Refused
from .keys import ENROLMENT_TYPE, KeyRing, Signer, now

TOKEN = re.compile(r"lse_[A-Za-z0-9_-]{43}\.([A-Za-z0-9_-]{43})")
SIGNED = ("kid", "core_keys", "partitions", "generation")


@dataclass
class Keys:
    """What a daemon must keep from its enrolment."""

    signer: Signer
    seal_private: bytes
    core_keys: list[dict]
    partitions: int
    generation: int


def seal_public(seal_private: bytes) -> bytes:
    return X25519PrivateKey.from_private_bytes(seal_private).public_key().public_bytes_raw()


def read_keys(path: Path) -> Keys | None:
    if not path.exists():
        return None
    kept = json.loads(path.read_text())
    return Keys(
        Signer(bytes.fromhex(kept["seed"])),
        bytes.fromhex(kept["seal_private"]),
        kept["core_keys"],
        kept["partitions"],
        kept["generation"],
    )


def enrol(core_url: str, token: str, path: Path) -> Keys:
    """Draws keys, registers their public halves, and keeps them once the core has proven itself."""
    match = TOKEN.fullmatch(token)
    if match is None:
        raise Refused("request.invalid", "this is no enrolment token")
    seed, seal_private = secrets.token_bytes(32), secrets.token_bytes(32)
    signer = Signer(seed)
    answer = _post(
        f"{core_url}/v1/enrolments",
        {
            "token": token,
            "public_key_b64u": b64u(signer.public_key),
            "seal_b64u": b64u(seal_public(seal_private)),
        },
    )
    prove_answer(answer, match[1], now())
    if answer["kid"] != signer.kid:
        raise Refused("request.invalid", "the core registered another key")
    kept = {name: answer[name] for name in ("core_keys", "partitions", "generation")}
    text = json.dumps({"seed": seed.hex(), "seal_private": seal_private.hex(), **kept})
    draft = path.with_suffix(".new")
    with os.fdopen(os.open(draft, os.O_WRONLY | os.O_CREAT | os.O_TRUNC, 0o600), "w") as file:
        file.write(text)
    draft.replace(path)
    return Keys(signer, seal_private, **kept)


def prove_answer(answer: dict, core_kid: str, at: float) -> None:
    """The core that the token names signed this answer; whoever else answers is not pinned."""
    keys = KeyRing(answer["core_keys"])
    if keys.get(core_kid) is None:
        raise Refused("envelope.unknown_key", "the core that answered does not have the key that the token names")
    body = canonical({name: answer[name] for name in SIGNED})
    keys.prove(ENROLMENT_TYPE, "envelope", body, core_kid, answer["sig"], at)


def _post(url: str, body: dict) -> dict:
    request = urllib.request.Request(url, json.dumps(body).encode(), {"content-type": "application/json"})
    try:
        with urllib.request.urlopen(request, timeout=15) as response:
            return json.load(response)
    except urllib.error.HTTPError as error:
        problem = json.load(error)
        raise Refused(problem["code"], problem.get("detail", "")) from error
