"""One-pass per-domain gradients of the LoRA layers of any PEFT model."""

from isograd.capture.domain_capture import DomainCapture

__all__ = ["DomainCapture"]
