"""`python -m fanout` is the `fanout` command."""

import signal

if signal.getsignal(signal.SIGINT) is signal.default_int_handler:
    # An interrupt while modules are imported ends the process without a traceback.
    signal.signal(signal.SIGINT, signal.SIG_DFL)

from fanout.cli import main

if __name__ == "__main__":
    main()
