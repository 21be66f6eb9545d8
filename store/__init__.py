"""Named queries and background work on the tables that are more than one model's."""
