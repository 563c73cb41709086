"""Swaps two names of a folder in one step (renameat2 with RENAME_EXCHANGE) until it is ended. Says so once it has begun."""
import ctypes
import os
import sys

os.chdir(sys.argv[1])
one, other = (name.encode() for name in sys.argv[2:4])
exchange = ctypes.CDLL(None, use_errno=True).renameat2
AT_FDCWD, RENAME_EXCHANGE = -100, 2


def swap():
    if exchange(AT_FDCWD, one, AT_FDCWD, other, RENAME_EXCHANGE) != 0:
        raise OSError(ctypes.get_errno(), "renameat2")


swap()
print("swapping", flush=True)
while True:
    swap()
