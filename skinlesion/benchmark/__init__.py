"""What is fast: the scan's engines against their peers, and the whole network."""
