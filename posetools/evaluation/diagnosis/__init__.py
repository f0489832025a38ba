"""Why AP is lost: each error in one class, and what it costs."""
