"""What the daemon says, as envelopes: which metadata each kind carries (DAEMONS.md, metadata per action)."""

import time
import uuid

from .encoding import seconds, timestamp
from .envelopes import NAMESPACE_WORKSPACE, PRIMARY, answer_id, channel_ref, envelope, event_id, identity_ref, note_id
from .identity import Identity

QUESTION_LIFE_S = 60


class Author:
    def __init__(self, service: str, instance: str) -> None:
        self.service = service
        self.instance = instance
        self.issuer = f"daemon:{service}:{instance}"
        self.epoch: int | None = None

    def _provenance(self, instance: str) -> dict:
        epoch = {} if self.epoch is None else {"epoch": self.epoch}
        return {"issuer": self.issuer, "instance": instance, **epoch}

    def question(self, service: str, action: str, payload: dict, workspace: str) -> dict:
        """To the core or the vault."""
        now = time.time()
        trace_id = str(uuid.uuid4())
        metadata = {
            **self._provenance(PRIMARY),
            "workspace_id": workspace,
            "message_id": note_id(self.issuer, action, str(uuid.uuid4())),
            "expires_at": timestamp(now + QUESTION_LIFE_S),
            "reply_to": f"bridge/{service}/{action}/reply/{trace_id}",
        }
        return envelope(service, action, metadata, payload, now, trace_id)

    def note(self, action: str, payload: dict, workspace: str = NAMESPACE_WORKSPACE) -> dict:
        metadata = {
            **self._provenance(self.instance),
            "workspace_id": workspace,
            "message_id": note_id(self.issuer, action, str(uuid.uuid4())),
        }
        return envelope(self.service, action, metadata, payload, time.time())

    def event(self, identity: Identity, entry: dict, place: int) -> dict:
        account, workspace = identity.id, identity.workspace
        payload = {
            "kind": "message",
            "remote_id": entry["id"],
            "revision": "0",
            "account": account,
            "sender": {"ref": identity_ref(self.service, entry["from"]), "name": entry["from"], "is_self": False},
            "sent_at": timestamp(entry["at"]),
            "text": entry["text"],
            "cursor": {"place": place},
            **({"reply_to": entry["reply_to"]} if "reply_to" in entry else {}),
        }
        metadata = {
            **self._provenance(self.instance),
            "workspace_id": workspace,
            "message_id": event_id(workspace, self.service, identity.home, account, "message", entry["id"], "0"),
            "conversation": channel_ref(workspace, self.service, entry["channel"]),
        }
        return envelope(self.service, "inbound_event", metadata, payload, entry["at"])

    def status(self, intent: dict, attempt: int, part: int, parts: int, status: str, **more: str) -> dict:
        at = timestamp(time.time())
        told = {"intent_id": intent["metadata"]["message_id"], "attempt": attempt, "part": part, "parts": parts}
        # The outcome names what may differ between two reports of one part.
        outcome = f"{status} {part}/{parts} {at}"
        return self._answer(
            intent, "delivery_status", outcome, attempt, {**told, "status": status, "at": at, **more}, seconds(at)
        )

    def deferred(self, intent: dict, attempt: int, wait_s: float, reason: str) -> dict:
        now = time.time()
        until = timestamp(now + wait_s)
        told = {"intent_id": intent["metadata"]["message_id"], "attempt": attempt, "until": until, "reason": reason}
        return self._answer(intent, "deferred", f"deferred {until}", attempt, told, now)

    def _answer(self, intent: dict, action: str, outcome: str, attempt: int, payload: dict, at: float) -> dict:
        asked = intent["metadata"]
        metadata = {
            **self._provenance(self.instance),
            "workspace_id": asked["workspace_id"],
            "message_id": answer_id(action, asked["message_id"], outcome, attempt),
            "in_reply_to": asked["message_id"],
            "identity_id": asked["identity_id"],
        }
        return envelope(self.service, action, metadata, payload, at, intent["trace_id"])

    def reply(self, request: dict, outcome: str, payload: dict) -> dict:
        asked = request["metadata"]
        metadata = {
            **self._provenance(self.instance),
            "workspace_id": asked["workspace_id"],
            "message_id": answer_id(request["action"], asked["message_id"], outcome, 1),
            "in_reply_to": asked["message_id"],
        }
        return envelope(self.service, request["action"], metadata, payload, time.time(), request["trace_id"])
