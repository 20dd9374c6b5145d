"""How long `headstudio --help` and `import headstudio` take: medians over fresh processes.

python benchmarks/help_time.py [REPETITIONS]
"""

import statistics
import subprocess
import sys
import time

LIMIT_S = 0.3


def measured_s(arguments: list[str], repetitions: int) -> float:
    """Median wall time of a command."""
    times = []
    for _ in range(repetitions):
        started_s = time.perf_counter()
        subprocess.run([sys.executable, *arguments], check=True, stdout=subprocess.DEVNULL)
        times.append(time.perf_counter() - started_s)
    return statistics.median(times)


def main() -> None:
    """Measure and print."""
    repetitions = int(sys.argv[1]) if len(sys.argv) > 1 else 15
    for name, arguments in (
        ("python -c pass", ["-c", "pass"]),
        ("import headstudio", ["-c", "import headstudio"]),
        ("headstudio --help", ["-m", "headstudio", "--help"]),
    ):
        print(f"{name:<20} {1000 * measured_s(arguments, repetitions):6.0f} ms (limit for help: {1000 * LIMIT_S:.0f})")


if __name__ == "__main__":
    main()
