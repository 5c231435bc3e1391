"""The report and the browser of stores: how long they take, how large they are, on the project in the current folder.

    uv run python benchmarks/pages.py

after ``uv run dvc repro``; ``synthesize.clips: 50620`` in params.yaml makes a corpus of the reference file's size.
"""

import json
import random
import re
import signal
import statistics
import subprocess
import sys
import time
from pathlib import Path
from urllib.request import urlopen

CLIPS = 200
PAGE = Path("reports/index.html")


def main() -> None:
    """Measure and print."""
    started = time.perf_counter()
    subprocess.run([sys.executable, "-m", "pipeline.report"], check=True)
    print(f"report: {time.perf_counter() - started:.1f} s, {PAGE.stat().st_size / 2**20:.1f} MiB")

    started = time.perf_counter()
    command = [sys.executable, "-m", "pipeline.commands.features", "browse", "data/features"]
    with subprocess.Popen(command, stdout=subprocess.PIPE, text=True) as browse:
        assert browse.stdout
        address = re.search(r"http\S+", browse.stdout.readline())
        assert address

        def get(path: str) -> bytes:
            return bytes(urlopen(address[0] + path).read())

        def memory() -> str:
            status = Path(f"/proc/{browse.pid}/status").read_text()
            kilobytes = next(line.split()[1] for line in status.splitlines() if line.startswith("VmRSS:"))
            return f"{int(kilobytes) / 1024:.0f} MiB"

        get("")
        listed = json.loads(get("clips?page=0"))
        print(
            f"browse: first page of {listed['total']:,} clips after {time.perf_counter() - started:.1f} s, {memory()}"
        )
        train = json.loads(get("clips?page=0&set=train"))["total"]
        times = []
        for number in random.Random(0).sample(range(train), min(CLIPS, train)):
            before = time.perf_counter()
            get(f"sound/train/{number}")
            get(f"picture/train/{number}")
            times.append(time.perf_counter() - before)
        print(f"a clip's sound and picture: median {statistics.median(times):.3f} s, longest {max(times):.3f} s")
        while json.loads(get("clips?page=0"))["measured"] < listed["total"]:
            time.sleep(0.1)
        print(f"all clips measured after {time.perf_counter() - started:.1f} s, {memory()}")
        before = time.perf_counter()
        get("clips?order=quietest&page=9")
        print(f"a page in order of loudness: {time.perf_counter() - before:.3f} s")
        browse.send_signal(signal.SIGINT)


if __name__ == "__main__":
    main()
