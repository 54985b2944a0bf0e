"""The exchanges on loopback: faithful enough to test and to demonstrate against, and exact about what they sent.

``market`` says what every numbered event holds, ``feed`` lets the market run, ``ledger`` keeps what was sent. What all exchanges
do alike stands in ``simulator``, ``connection`` and ``rest``, and what one exchange speaks in the files that carry its name.
``faults`` disturbs any of them, ``script`` does so by the clock, and ``replay`` plays a recording in place of a market.
"""
