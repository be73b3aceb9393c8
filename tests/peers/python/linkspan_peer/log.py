"""One JSON object per line on standard error: an event and its fields; never texts, never secrets."""

import json
import sys


def log(event: str, **fields: object) -> None:
    sys.stderr.write(json.dumps({"event": event, **fields}) + "\n")
    sys.stderr.flush()
