"""edgellm: from a Japanese language model's published checkpoint to a verified, measured, offline service."""

__version__ = "0.1.0"
