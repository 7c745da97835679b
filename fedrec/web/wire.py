"""What every service of ours may answer; no web library is needed to read this module."""

from dataclasses import dataclass


@dataclass(frozen=True, slots=True, kw_only=True)
class Failure:
    """What was wrong, in one line."""

    error: str


@dataclass(frozen=True, slots=True, kw_only=True)
class Hello:
    """The proof that this is the service: HMAC-SHA256 under its token of `PORT NONCE`, in hexadecimal."""

    proof: str


@dataclass(frozen=True, slots=True, kw_only=True)
class Entered:
    """The page's secret of this session; it goes beside the cookie in the header X-Fedrec-Secret."""

    secret: str
