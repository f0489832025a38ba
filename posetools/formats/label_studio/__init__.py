"""Label Studio: one JSON export."""
