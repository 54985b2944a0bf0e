"""What the process knows about itself: states, counters, notices. No I/O, no Trio; whoever calls brings the time."""
