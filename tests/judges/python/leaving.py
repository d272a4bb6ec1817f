"""Runs a program of this directory, then leaves at once, without taking the interpreter down.

Threads of pyarrow that still run when its libraries are taken down abort the process, now and then, after all work is
done (apache/arrow, issue 34314). What the program asserts and how it ends is told as before.
"""

import atexit
import os
import runpy
import sys
import traceback

code = 0
del sys.argv[0]
try:
    runpy.run_path(sys.argv[0], run_name="__main__")
except SystemExit as end:
    if isinstance(end.code, str):
        print(end.code, file=sys.stderr)
    code = end.code if isinstance(end.code, int) else int(end.code is not None)
except BaseException:
    traceback.print_exc()
    code = 1
atexit._run_exitfuncs()
sys.stdout.flush()
sys.stderr.flush()
os._exit(code)
