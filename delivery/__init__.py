"""The multicast protocol both ends speak: FLUTE (RFC 6726) with no code and RaptorQ, and the signed manifest.

Sans-I/O: machines take datagrams and the time as arguments and answer with datagrams, events and deadlines.
`delivery.asgi` and `delivery.datagrams` are the two modules that touch the network, shared by both ends.
"""
