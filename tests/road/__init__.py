"""``make road``: the README's commands as a user types them, on two objects, judged by what comes out."""
