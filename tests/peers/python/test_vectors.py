"""The peer's reading of the contract, held against the vectors: those of others and our own."""

import base64
import json
import unittest
from pathlib import Path

from linkspan_peer import envelopes, keys, sealed, tickets
from linkspan_peer.encoding import seconds, unb64u
from linkspan_peer.errors import Refused

VECTORS = Path(__file__).parents[3] / "envelopes" / "vectors"
NOW = seconds("2026-11-20T12:00:00.000Z")


def lines(name: str) -> list[dict]:
    return [json.loads(line) for line in (VECTORS / name).read_text().splitlines()]


def ring_of(name: str) -> keys.KeyRing:
    """Any key may prove a vector; the daemon itself takes the core's only."""
    ring = keys.KeyRing([])
    ring._records = {record["kid"]: record for record in json.loads((VECTORS / name).read_text())["keys"]}
    return ring


class Vectors(unittest.TestCase):
    def signers(self) -> dict[str, keys.Signer]:
        seeds = json.loads((VECTORS / "seeds.json").read_text())
        pair = [keys.Signer(bytes.fromhex(seeds[name])) for name in ("core_seed_hex", "daemon_seed_hex")]
        return {signer.kid: signer for signer in pair}

    def test_envelopes(self) -> None:
        signers = self.signers()
        files = ["envelope-valid.jsonl", "notes.jsonl", "answers.jsonl", "batches.jsonl"]
        for vector in [line for name in files for line in lines(name)]:
            with self.subTest(vector["name"]):
                self.assertEqual(envelopes.digest(vector["identity"]), vector["message_id"])
                self.assertEqual(envelopes.trace_id_of(vector["message_id"]), vector["trace_id"])
                self.assertEqual(envelopes.routing_key(vector["envelope"], 8), vector["routing_key"])
                body, sig = envelopes.sign(vector["envelope"], signers[vector["kid"]])
                self.assertEqual(base64.b64encode(body).decode(), vector["body_b64"])
                self.assertEqual(sig, vector["sig"])
                ring_of("keys.json").prove(keys.ENVELOPE_TYPE, "envelope", body, vector["kid"], sig, NOW)
                envelopes.check_form(json.loads(body))

    def test_invalid_envelopes_are_never_taken_for_the_cores(self) -> None:
        for vector in lines("envelope-invalid.jsonl"):
            count, byte = vector.get("body_fill", (0, "00"))
            body = bytes.fromhex(byte) * count or base64.b64decode(vector.get("body_b64", ""))
            with self.subTest(vector["name"]), self.assertRaises(Refused):
                envelopes.open_envelope(body, vector.get("kid"), vector.get("sig"), ring_of("keys.json"), NOW)

    def test_pae(self) -> None:
        for vector in lines("pae.jsonl"):
            with self.subTest(vector["name"]):
                self.assertEqual(keys.pae(vector["type"], bytes.fromhex(vector["body_hex"])).hex(), vector["pae_hex"])

    def test_tickets(self) -> None:
        daemon = next(vector for vector in lines("notes.jsonl"))
        for vector in lines("tickets.jsonl"):
            with self.subTest(vector["name"]):
                self.assertEqual(tickets.ticket_hash(vector["compact"]), vector["hash"])
                given = (vector["compact"], ring_of("ticket-keys.json"), vector["now"], "daemon:irc:libera", daemon["kid"])
                if "claims" in vector:
                    self.assertEqual(tickets.open_ticket(*given), vector["claims"])
                    continue
                with self.assertRaises(Refused) as refused:
                    tickets.open_ticket(*given)
                self.assertEqual(refused.exception.code, vector["code"])

    def test_signed_batches(self) -> None:
        for vector in lines("signed-batches.jsonl"):
            purpose = "ticket" if vector["type"] == keys.TICKET_TYPE else "envelope"
            given = (vector["type"], purpose, bytes.fromhex(vector["body_hex"]), vector["kid"], vector["sig"], NOW)
            with self.subTest(vector["name"]):
                if "code" not in vector:
                    ring_of("ticket-keys.json").prove(*given)
                    continue
                with self.assertRaises(Refused) as refused:
                    ring_of("ticket-keys.json").prove(*given)
                self.assertEqual(refused.exception.code, vector["code"])

    def test_intent_hash(self) -> None:
        metadata = {
            "conversation": "msgr://channels/acme/bridge/irc/libera/%23linkspan",
            "identity_id": "7c3f1c1e-2f0e-4b3a-9d67-0e5a3f0f9a11",
            "user_id": "user-1",
        }
        intent = {"action": "outbound_message", "payload": {"text": "hello, grüße"}, "metadata": metadata}
        self.assertEqual(envelopes.intent_hash(intent), lines("tickets.jsonl")[0]["claims"]["intent_hash"])

    def test_sealed_credentials(self) -> None:
        for vector in lines("hpke.jsonl"):
            with self.subTest(vector["name"]):
                private = unb64u(vector["private_key"]) or b""
                info = sealed.seal_info(*vector["context"].values())
                self.assertEqual(info.hex(), vector["info_hex"])
                fields = {name: unb64u(value) or b"" for name, value in vector["fields_b64u"].items()}
                self.assertEqual(sealed.pack(fields).hex(), vector["packed_hex"])
                self.assertEqual(sealed.unseal(private, info, vector), fields)
                again = sealed.seal(unb64u(vector["public_key"]) or b"", info, fields)
                self.assertEqual(sealed.unseal(private, info, again), fields)
                with self.assertRaises(Refused):
                    sealed.unseal(private, info + b"x", vector)


if __name__ == "__main__":
    unittest.main()
