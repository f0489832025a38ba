"""Why AP is lost: one class for each error, and its cost."""
