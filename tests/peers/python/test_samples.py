"""The captured messages, read as the daemon reads them; its own are proven with its own key."""

import json
import unittest
from pathlib import Path

from linkspan_peer import envelopes, keys, sealed, tickets
from linkspan_peer.encoding import canonical, seconds
from linkspan_peer.enrolment import prove_answer
from linkspan_peer.errors import Refused

SAMPLES = Path(__file__).parents[3] / "envelopes" / "samples"
DAEMON = "daemon:echo:primary"


def read(name: str) -> dict:
    return json.loads((SAMPLES / f"{name}.json").read_text())


class Samples(unittest.TestCase):
    def setUp(self) -> None:
        self.seeds = read("keys")
        self.signer = keys.Signer(bytes.fromhex(self.seeds["daemon_seed"]))
        self.enrolment = read("01-enrolment")
        self.ring = keys.KeyRing(self.enrolment["answer"]["core_keys"])

    def test_enrolment(self) -> None:
        answer, token = self.enrolment["answer"], self.enrolment["request"]["token"]
        at = seconds(read("02-hello")["captured_at"])
        prove_answer(answer, token.split(".")[1], at)
        with self.assertRaises(Refused):
            prove_answer({**answer, "generation": answer["generation"] + 1}, token.split(".")[1], at)

    def test_messages(self) -> None:
        names = sorted(path.stem for path in SAMPLES.glob("[0-9]*.json"))[1:]
        for name in names:
            sample = read(name)
            body, headers = sample["body"].encode(), sample["headers"]
            issuer = sample["envelope"]["metadata"]["issuer"]
            with self.subTest(name):
                self.assertEqual(canonical(sample["envelope"]), body)
                if issuer == "core" and "death-code" not in headers:
                    key = sample["routing_key"]
                    route = None if key.startswith("reply.") else (key, self.enrolment["answer"]["partitions"])
                    at = seconds(sample["captured_at"])
                    envelopes.open_envelope(body, headers["kid"], headers["sig"], self.ring, at, route)
                elif issuer == DAEMON:
                    self.assertEqual(self.signer.sign(keys.ENVELOPE_TYPE, body), headers["sig"])

    def test_the_ticket_covers_the_intent(self) -> None:
        sample = read("20-outbound-message")
        at = seconds(sample["captured_at"])
        claims = tickets.prove_intent(sample["envelope"], self.ring, at, DAEMON, self.signer.kid)
        self.assertEqual(claims["attempt"], 1)
        forged = {**sample["envelope"], "payload": {"text": "something else"}}
        with self.assertRaises(Refused) as refused:
            tickets.prove_intent(forged, self.ring, at, DAEMON, self.signer.kid)
        self.assertEqual(refused.exception.code, "ticket.wrong_destination")

    def test_the_credential_opens(self) -> None:
        asked, answer = read("06-checkout")["envelope"], read("07-checkout-answer")["envelope"]["payload"]
        identity = read("05-link-account")["envelope"]["metadata"]["identity_id"]
        shown = tickets.ticket_hash(asked["payload"]["ticket"])
        workspace = asked["metadata"]["workspace_id"]
        info = sealed.seal_info(answer["lease_id"], DAEMON, workspace, identity, shown)
        private = bytes.fromhex(self.seeds["daemon_seal"])
        self.assertEqual(sealed.unseal(private, info, answer["sealed"]), {"password": b"correct horse"})


if __name__ == "__main__":
    unittest.main()
