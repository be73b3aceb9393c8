"""Bytes and texts: base64url, canonical JSON, instants (contract sections 2 and 3)."""

import base64
import json
import re
from datetime import datetime, timezone

from .errors import Refused

BASE64URL = re.compile(r"[A-Za-z0-9_-]*")
MAX_BYTES = 1_048_576
MAX_DEPTH = 32
SAFE = 2**53 - 1


def b64u(data: bytes) -> str:
    return base64.urlsafe_b64encode(data).rstrip(b"=").decode()


def unb64u(text: str) -> bytes | None:
    """The bytes, or None for anything but the one spelling without padding."""
    if not BASE64URL.fullmatch(text):
        return None
    try:
        data = base64.urlsafe_b64decode(text + "=" * (-len(text) % 4))
    except ValueError:
        return None
    return data if b64u(data) == text else None


def canonical(value: object) -> bytes:
    """RFC 8785 for what an envelope may hold: numbers are safe integers, texts are well-formed."""
    try:
        return _write(value, 1).encode("utf-8")
    except UnicodeEncodeError as error:
        raise Refused("envelope.not_canonical", "a lone surrogate") from error


def _write(value: object, depth: int) -> str:
    if value is None or isinstance(value, (bool, str)):
        return json.dumps(value, ensure_ascii=False)
    if isinstance(value, int):
        if abs(value) > SAFE:
            raise Refused("envelope.schema", "a number is not a safe integer")
        return str(value)
    if isinstance(value, (list, tuple)):
        return "[" + ",".join(_write(item, _deeper(depth)) for item in value) + "]"
    if isinstance(value, dict):
        names = sorted(value, key=lambda name: name.encode("utf-16-be"))
        members = (json.dumps(name, ensure_ascii=False) + ":" + _write(value[name], _deeper(depth)) for name in names)
        return "{" + ",".join(members) + "}"
    raise Refused("envelope.not_canonical", f"JSON here cannot hold {type(value).__name__}")


def _deeper(depth: int) -> int:
    if depth > MAX_DEPTH:
        raise Refused("envelope.malformed", f"it nests deeper than {MAX_DEPTH}")
    return depth + 1


def parse_canonical(body: bytes) -> object:
    """Strict UTF-8, JSON, and the bytes must be the canonical ones, which also refuses duplicate members."""
    try:
        text = body.decode("utf-8")
    except UnicodeDecodeError as error:
        raise Refused("envelope.not_utf8", "the body is not UTF-8") from error
    if text.startswith("\ufeff"):
        raise Refused("envelope.not_utf8", "the body starts with a byte order mark")
    try:
        value = json.loads(text)
    except (ValueError, RecursionError) as error:
        raise Refused("envelope.malformed", "the body is not JSON") from error
    if canonical(value) != body:
        raise Refused("envelope.not_canonical", "the body is not in RFC 8785 form")
    return value


def timestamp(at: float) -> str:
    """`YYYY-MM-DDTHH:MM:SS.mmmZ` of seconds since 1970."""
    millis = round(at * 1_000)
    date = datetime.fromtimestamp(millis // 1_000, timezone.utc)
    return f"{date:%Y-%m-%dT%H:%M:%S}.{millis % 1_000:03d}Z"


def seconds(text: str) -> float:
    return datetime.strptime(text, "%Y-%m-%dT%H:%M:%S.%f%z").timestamp()
