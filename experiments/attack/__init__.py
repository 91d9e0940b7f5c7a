"""The attack catalogue: what a user may try, as data, and what is made of it."""
