"""Refusals carry one code of the contract's closed table; other code branches on it and never on the text."""


class Refused(Exception):
    def __init__(self, code: str, detail: str, retry_after_ms: int | None = None) -> None:
        super().__init__(f"{code}: {detail}")
        self.code = code
        self.detail = detail
        self.retry_after_ms = retry_after_ms


class LeaseLost(Exception):
    """Another process holds the instance; this one must stop at once."""
