"""A backend: sends one message as a linked identity, waits until it is settled, then prints what is said in that
conversation until an answer of somebody else has come. Needs Python 3.9 and nothing else.

    LINKSPAN_URL=http://127.0.0.1:8787 LINKSPAN_TOKEN=lsp_... python3 examples/backend.py IDENTITY CONVERSATION TEXT
"""
import json
import os
import sys
import time
import urllib.error
import urllib.request
import uuid

URL = os.environ.get("LINKSPAN_URL", "http://127.0.0.1:8787")
TOKEN = os.environ["LINKSPAN_TOKEN"]


def ask(method, path, body=None, headers=None):
    data = None if body is None else json.dumps(body).encode()
    own = {"authorization": f"Bearer {TOKEN}", "content-type": "application/json", **(headers or {})}
    request = urllib.request.Request(URL + path, data=data, headers=own, method=method)
    try:
        with urllib.request.urlopen(request, timeout=60) as response:
            return json.load(response)
    except urllib.error.HTTPError as error:
        sys.exit(error.read().decode())  # a problem: branch on its `code`


def main(identity, conversation, text):
    # Where the log of events ends now: what is read after it came later.
    cursor = ask("GET", "/v1/events?cursor=latest")["next_cursor"]

    # The key makes the request repeatable: keep it with your own record, and ask again with it after a time-out.
    body = {"identity_id": identity, "conversation": conversation, "payload": {"text": text}}
    intent = ask("POST", "/v1/intents", body, {"idempotency-key": str(uuid.uuid4())})
    while intent["state"] in ("recorded", "queued", "attempting"):
        time.sleep(0.1)
        intent = ask("GET", f"/v1/intents/{intent['id']}")
    print(intent["state"], intent.get("code", ""), flush=True)

    answered = intent["state"] != "sent"
    while not answered:
        page = ask("GET", f"/v1/events?cursor={cursor}&wait_ms=20000")
        for event in page["events"]:
            payload = event["envelope"]["payload"]
            if event.get("conversation") == conversation:
                print(f"{conversation} <{payload['sender']['name']}> {payload.get('text', '')}", flush=True)
                answered = answered or not payload["sender"]["is_self"]
        cursor = page["next_cursor"]


if __name__ == "__main__":
    main(*sys.argv[1:4])
