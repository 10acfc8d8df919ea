"""What there is to choose from, written from the registries: pages of the documentation, recorded
facts, and what `logvar parts` prints."""
