"""Codecs between bytes and messages: no I/O, no state. Malformed input raises `WireError`, nothing else."""
