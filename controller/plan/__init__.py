"""Pure functions from facts to the complete desired tables of every switch."""
