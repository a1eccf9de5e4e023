"""What the configuration says of a gateway, as values: its fronts, routes and upstreams."""
