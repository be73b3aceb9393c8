"""One linked account while this process serves it: its credential lease and its place in the stream of events."""

from dataclasses import dataclass, field


@dataclass
class CredentialLease:
    id: str
    version: int
    ticket_hash: str
    #: monotonic seconds at which half of the term is over
    renew_at: float
    fields: dict[str, bytes]


@dataclass
class Identity:
    id: str
    workspace: str
    home: str
    settings: dict
    ticket: str
    #: place in the platform's log up to which the core has acknowledged everything
    place: int
    lease: CredentialLease | None = None
    connected: bool = False
    #: place up to which events were published
    read: int = 0
    #: message id → place, of events without an acknowledgement, oldest first
    pending: dict[str, int] = field(default_factory=dict)

    @staticmethod
    def resumed(told: dict) -> "Identity":
        place = int(told.get("checkpoint", {}).get("place", 0))
        return Identity(
            told["identity_id"],
            told["workspace_id"],
            told["home"],
            told["settings"],
            told["ticket"],
            place,
            read=place,
        )

    def acknowledged(self, message_ids: list[str]) -> bool:
        """:returns: whether the place has moved, so that there is a new checkpoint"""
        for message_id in message_ids:
            self.pending.pop(message_id, None)
        before = self.place
        self.place = min(self.pending.values(), default=self.read + 1) - 1
        return self.place > before
