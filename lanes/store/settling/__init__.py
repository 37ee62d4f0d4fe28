"""Results and outcomes of items: writing, listing and reading them."""
