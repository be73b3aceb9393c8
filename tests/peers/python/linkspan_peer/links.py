"""What this daemon announces, and the core's requests that it answers (DAEMONS.md, linking)."""

from .author import Author
from .bus import Bus, Delivery
from .credentials import Credentials
from .errors import Refused
from .log import log

CAPABILITIES = {"send": ["text"], "attempt": True, "delivery_status": True}


def _field(name: str, label: str, secret: bool = False, advanced: bool = False) -> dict:
    field = {"name": name, "label": label, "required": False, "secret": secret, "syntax": "line", "max_bytes": 200}
    return {**field, **({"advanced": True} if advanced else {})}


DECLARATION = {
    "name": "Echo in Python",
    "description": "Repeats what is said to it.",
    "fields": [
        _field("nick", "Name to appear under"),
        _field("password", "Any password but `wrong`", secret=True),
        _field("token", "What the platform gave for the password", secret=True, advanced=True),
    ],
}


def announcement(core_version: str) -> dict:
    """:param core_version: as the core's answer to `hello` names it; one before 0.3 does not know signed batches"""
    announced = {"capabilities": CAPABILITIES, "link": DECLARATION}
    major, minor = (int(part) for part in core_version.split(".")[:2])
    # Without this list the core takes the first two for granted.
    return {**announced, "knows": ["attempt", "delivery_status", "signed_batches"]} if (major, minor) >= (0, 3) else announced


class Requests:
    def __init__(self, bus: Bus, author: Author, credentials: Credentials) -> None:
        self._bus = bus
        self._author = author
        self._credentials = credentials
        #: identities that the core has told to leave
        self.disconnected: list[str] = []

    def answer(self, delivery: Delivery, request: dict, served: int) -> None:
        try:
            payload = self._carry_out(request, served)
        except Refused as error:
            payload = {"error": {"code": error.code, "detail": error.detail}}
        outcome = payload.get("status", "error")
        log("request.answered", action=request["action"], outcome=outcome)
        self._bus.reply(delivery, self._author.reply(request, outcome, payload))
        self._bus.ack(delivery)

    def _carry_out(self, request: dict, served: int) -> dict:
        match request["action"]:
            case "link_account" | "reauthenticate":
                return self._link(request)
            case "disconnect":
                self.disconnected.append(request["payload"]["identity_id"])
                return {"status": "disconnected"}
            case "configure_bridge":
                return {"status": "configured"}
            case "health_snapshot":
                return {"status": "ok", "identities": served}
        raise Refused("action.unsupported", f"{request['action']} is not served here")

    def _link(self, request: dict) -> dict:
        """Tries the credentials that the person has entered; they are not in the envelope."""
        metadata = request["metadata"]
        workspace, identity = metadata["workspace_id"], metadata["identity_id"]
        lease = self._credentials.check_out(workspace, identity, metadata.get("ticket", ""))
        try:
            if lease.fields.get("password") == b"wrong":
                return {"status": "failed", "code": "platform.auth_expired", "message": "The password is wrong."}
            nick = request["payload"].get("settings", {}).get("nick", identity)
            return {"status": "linked", "remote": nick, "name": nick}
        finally:
            self._credentials.release(workspace, lease)
