"""HTTPS at the edge: the certificate, the listener, HTTP/2 on hypercorn, and what holds only over TLS."""
