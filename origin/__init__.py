"""The enterprise cloud: publishes a site to all edges at once, repairs what was lost, and answers DNS."""
