"""What the page shows: words, HTML, scripts and styles."""
