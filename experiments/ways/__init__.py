"""Ways to bring a site from the origin to the edges of a lab, ours and those it is compared with."""
