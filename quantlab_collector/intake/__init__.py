"""WebSocket → channel: connections, and who looks after them."""
