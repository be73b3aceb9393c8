"""What no vector holds: the refusals of the peer's own encoder."""

import unittest

from linkspan_peer.encoding import canonical, parse_canonical, timestamp, unb64u
from linkspan_peer.errors import Refused


class Encoding(unittest.TestCase):
    def test_names_are_sorted_by_utf16_code_units(self) -> None:
        names = canonical({"\ufb33": 1, "\U0001f600": 2, "a": "\u001f"}).decode()
        self.assertEqual(names, '{"a":"\\u001f","\U0001f600":2,"\ufb33":1}')

    def test_what_json_cannot_hold_is_refused(self) -> None:
        for value in (1.5, 2**53, "\ud800", {"a": float("nan")}):
            with self.assertRaises(Refused):
                canonical(value)

    def test_only_canonical_bytes_are_read(self) -> None:
        for body in (b'{"a":1,"a":1}', b'{"b":1,"a":1}', b'{ "a":1}', b"1.0", b"\xef\xbb\xbf{}", b"\xff", b"[" * 40):
            with self.assertRaises(Refused):
                parse_canonical(body)

    def test_base64url_has_one_spelling(self) -> None:
        self.assertEqual(unb64u("-_8"), b"\xfb\xff")
        for text in ("-_8=", "-_9", "+/8", "a"):
            self.assertIsNone(unb64u(text))

    def test_instants_have_three_fraction_digits(self) -> None:
        self.assertEqual(timestamp(1_795_000_000.0004), "2026-11-18T11:06:40.000Z")


if __name__ == "__main__":
    unittest.main()
