"""The OpenFlow adapter: codec, reconciliation, and with `controller.app` the only user of Ryu."""
