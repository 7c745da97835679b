"""Private federated recommendation: train shared adapters without moving anybody's behaviour."""

__version__ = "0.1.0"
