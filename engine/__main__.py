"""`python -m engine VERB`."""

import gc
import sys

# Torch and its company make objects by the million that stay. Looked through at every 700 new ones, as is
# usual, they took 7.1 s of a processor to import, else 6.4.
gc.set_threshold(50_000, 20, 20)

from engine.cli import main  # noqa: E402

if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
