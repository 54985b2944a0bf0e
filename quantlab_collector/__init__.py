"""A faithful recorder of public crypto-futures market data."""

__version__ = "0.1.0"
