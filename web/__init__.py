"""What the routes share: decorators of views, query parameters, pagination, entity tags and idempotency."""
