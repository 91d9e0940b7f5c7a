"""What is done in a lab besides publishing and fetching: one module for each kind of act."""
