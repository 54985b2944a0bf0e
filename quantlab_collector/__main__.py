"""``python -m quantlab_collector``."""

from quantlab_collector.cli import main

if __name__ == "__main__":
    main()
