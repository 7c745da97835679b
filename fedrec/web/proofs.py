"""The proof that whoever answers on a port holds the service's token, without telling the token.

A port is anybody's once its service is gone: whoever takes it next would be told secrets.
"""

import hmac


def proof(token: str, *, port: int, nonce: str) -> str:
    """What only a holder of the token can answer to a nonce: an HMAC-SHA256 in hexadecimal.

    The port is a part of it, so that nobody on another port can pass a service's answer on.

    >>> proof("token", port=1, nonce="n") == proof("token", port=2, nonce="n")
    False
    """
    return hmac.digest(token.encode(), f"{port} {nonce}".encode(), "sha256").hex()
