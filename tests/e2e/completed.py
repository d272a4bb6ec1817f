"""Types command lines into an interactive shell, with TABs, as a person does.

    completed.py DIRECTORY SHELL STRATA LINE...

Prints for each line what a program called `strata` was called with after Enter, its arguments in <>; completing
itself asks STRATA. DIRECTORY is for what this needs.
"""

import os
import pty
import select
import sys
import time

directory, shell, strata, *lines = sys.argv[1:]
calls = os.path.join(directory, "calls")
bin_ = os.path.join(directory, "bin")
os.makedirs(bin_)
with open(os.path.join(bin_, "strata"), "w") as script:
    script.write(f"""#!/bin/sh
case $1 in complet*) exec '{strata}' "$@" ;; esac
printf '<%s>' "$@" >>'{calls}.new'; echo >>'{calls}.new'; mv '{calls}.new' '{calls}'
""")
os.chmod(os.path.join(bin_, "strata"), 0o755)

start = {
    "bash": (["bash", "--norc", "--noprofile", "-i"], 'eval "$(strata completions bash)"'),
    "zsh": (["zsh", "-f", "-i"], 'autoload -Uz compinit; compinit -u -D; eval "$(strata completions zsh)"'),
    "fish": (["fish", "--no-config", "-i"], "strata completions fish | source"),
}
command, setup = start[shell]
pid, terminal = pty.fork()
if pid == 0:
    os.environ.update(PATH=bin_ + ":" + os.environ["PATH"], TERM="vt100", HOME=directory, LC_ALL="C.UTF-8")
    os.chdir(directory)
    os.execvp(command[0], command)

shown = b""


def read(seconds):
    """Reads what the shell shows until it shows nothing for so long."""
    global shown
    while select.select([terminal], [], [], seconds)[0]:
        try:
            shown += os.read(terminal, 65536)
        except OSError:
            return


def send(text):
    os.write(terminal, text.encode())


def wait(path):
    """Waits for a file that a command makes."""
    for _ in range(300):
        read(0.1)
        if os.path.exists(path):
            return
    sys.exit(f"{shell} did not come to {path}; it showed:\n{shown.decode(errors='replace')}")


ready = os.path.join(directory, "ready")
read(1)
send(f"{setup}; touch {ready}\r")
wait(ready)
for line in lines:
    first, *more = line.split("\t")
    send(first)
    for part in more:
        send("\t")
        # What is asked for takes at most a second.
        read(1.5)
        send(part)
    send("\r")
    wait(calls)
    with open(calls) as file:
        print(file.read(), end="")
    os.remove(calls)
send("exit\r")
