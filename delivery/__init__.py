"""The multicast protocol both ends speak: FLUTE (RFC 6726) with no code and RaptorQ, and the signed manifest.

Sans-I/O: machines take datagrams and the time as arguments and answer with datagrams, events and deadlines.
`delivery.asgi` is the one module that touches the network, shared by the origin and the edges.
"""
