"""What the tables of all switches together do to packets. Pure."""
