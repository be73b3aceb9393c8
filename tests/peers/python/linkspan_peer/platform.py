"""
The platform behind the daemon: a chat network with one inhabitant who repeats what is said to it.

It is kept in files, so that the platform outlives the daemon's process as a real one does, and so that a test can
say something on it: each account has a log of what it sees and a list of what it said, one JSON object per line.
"""

import json
import time
from pathlib import Path

PEER = "echo"


class EchoPlatform:
    def __init__(self, directory: Path) -> None:
        self._directory = directory

    def say(self, account: str, key: str, channel: str, text: str) -> str:
        """:returns: the id that the platform gave it"""
        said = self._lines(account, "said")
        remote_id = f"s{len(said) + 1}"
        at = time.time()
        self._append(account, "said", {"key": key, "id": remote_id, "channel": channel, "text": text, "at": at})
        echo = {"id": f"e{len(said) + 1}", "from": PEER, "channel": channel, "text": text, "at": at}
        self._append(account, "log", {**echo, "reply_to": remote_id})
        return remote_id

    def find(self, account: str, key: str) -> str | None:
        """What was said under a key, as an archive would tell."""
        return next((line["id"] for line in self._lines(account, "said") if line["key"] == key), None)

    def after(self, account: str, place: int) -> list[dict]:
        """What the account has seen after a place in its log."""
        return self._lines(account, "log")[place:]

    def _lines(self, account: str, name: str) -> list[dict]:
        path = self._directory / f"{account}.{name}.jsonl"
        text = path.read_text() if path.exists() else ""
        # What follows the last line feed is still being written.
        return [json.loads(line) for line in text.split("\n")[:-1]]

    def _append(self, account: str, name: str, line: dict) -> None:
        with (self._directory / f"{account}.{name}.jsonl").open("a") as file:
            file.write(json.dumps(line) + "\n")
