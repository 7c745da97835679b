"""The text encoder of an installed release."""

from fedrec.model.onnx_encoder import ENCODER, FACTS_FILE, OnnxEncoder

__all__ = ["ENCODER", "ENCODER_FACTS", "OnnxEncoder"]

ENCODER_FACTS = f"{ENCODER}/{FACTS_FILE}"
