"""The OpenFlow adapter: with `controller.app` the only user of os_ken."""
