"""Pictures and pages: one offline HTML file for a run."""
