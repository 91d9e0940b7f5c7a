"""State machines without I/O: the time is an argument, what happened is the result."""
