"""What a network is: nodes and links, addresses, paths, files and generators."""
