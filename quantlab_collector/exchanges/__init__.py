"""One exchange, one file, no I/O: frames in, events and replies out."""
