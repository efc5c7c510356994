"""What stands around the page: routes, guards, limits, the tool for programs."""
