"""The page's tabs and what their controls do."""
