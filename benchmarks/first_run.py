"""How long the first run stays silent: in a terminal of 80 x 24, or piped to a file.

    uv run python benchmarks/first_run.py [--piped] [--log first_run.log]

clones this project's last commit, runs ``uv run dvc repro`` there, and prints the longest times without a change on the
screen, or without a line, and what stood there meanwhile. The log has each output with its time.
"""

import argparse
import fcntl
import itertools
import os
import pty
import re
import struct
import subprocess
import tempfile
import termios
import time
from pathlib import Path

ROOT = Path(__file__).resolve().parent.parent
ESCAPES = re.compile(r"\x1b\[[0-9;?]*[A-Za-z]")
LISTED = 5


def main() -> None:
    """Measure and print."""
    options = argparse.ArgumentParser(description=__doc__)
    options.add_argument("--piped", action="store_true")
    options.add_argument("--log", type=Path, default=Path("first_run.log"))
    arguments = options.parse_args()
    with tempfile.TemporaryDirectory() as folder:
        subprocess.run(["git", "clone", "--quiet", ROOT, folder], check=True)
        outputs, code = record(["uv", "run", "dvc", "repro"], Path(folder), piped=arguments.piped)
    shown = [(second, ESCAPES.sub("", text.replace("\r", "\n")).strip()) for second, text in outputs]
    arguments.log.write_text("".join(f"{second:8.2f}  {text!r}\n" for second, text in outputs), encoding="utf-8")
    print(f"{outputs[-1][0]:.0f} s in all, exit code {code}; every output with its time: {arguments.log}")
    gaps = [(after[0] - before[0], *before) for before, after in itertools.pairwise(shown)]
    print("longest times without an output, and the last line before:")
    for gap, second, text in sorted(gaps, reverse=True)[:LISTED]:
        print(f"{gap:6.1f} s from {second:6.1f} s on: {text.splitlines()[-1] if text else ''}")


def record(command: list[str], folder: Path, *, piped: bool) -> tuple[list[tuple[float, str]], int]:
    """Run a command; what it printed, with seconds from the start, and its exit code."""
    environment = {name: value for name, value in os.environ.items() if name != "VIRTUAL_ENV"}
    reader, writer = os.pipe() if piped else pty.openpty()
    if not piped:
        environment["TERM"] = "xterm-256color"
        fcntl.ioctl(writer, termios.TIOCSWINSZ, struct.pack("HHHH", 24, 80, 0, 0))
    started = time.monotonic()
    stdin = subprocess.DEVNULL if piped else writer
    process = subprocess.Popen(command, cwd=folder, env=environment, stdin=stdin, stdout=writer, stderr=writer)
    os.close(writer)
    outputs = [(0.0, "")]
    while True:
        try:
            output = os.read(reader, 65536)
        except OSError:  # a terminal that the last process left
            output = b""
        if not output:
            break
        outputs.append((time.monotonic() - started, output.decode(errors="replace")))
    return outputs, process.wait()


if __name__ == "__main__":
    main()
