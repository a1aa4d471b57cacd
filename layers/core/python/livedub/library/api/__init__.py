"""The library's API: one set of operations and types behind REST and GraphQL."""
