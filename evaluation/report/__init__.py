"""One report of all three evaluations: an HTML page, and Markdown for a paper's supplement."""
