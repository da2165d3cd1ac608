"""`tradewind run` with a wire between its services; one rule: nothing else is changed.

Every call from one service to another is encoded and decoded, in the one process, so that what
the codec costs can be told from what the network and more processes cost.
"""

from functools import partial
from unittest.mock import patch

from tradewind.__main__ import main
from tradewind.commands import run
from tradewind.compose import open_store

if __name__ == "__main__":
    with patch.object(run, "open_store", partial(open_store, codec=True)):
        main()
