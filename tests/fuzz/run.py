"""Searches for what breaks a parser, guided by what each input makes it execute (atheris, which is libFuzzer). ``make fuzz``.

    python -m tests.fuzz.run SECONDS [TARGET ...]

What was found worth keeping stays in .fuzz/, and so does whatever broke something. Each target is a process of its own,
which may take 256 MiB, and ten seconds for one input.
"""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

KEPT = Path(__file__).parents[2] / ".fuzz"
_MEMORY_MIB = 256
"""Of the whole process, which takes 60 when every input is small."""
_INPUT_SECONDS = 10
"""For one input: a thousand times what the slowest takes."""


def fuzz(name: str, arguments: list[str]) -> None:
    """Search in this process, by libFuzzer's ``arguments``; it ends the process."""
    import atheris

    with atheris.instrument_imports(include=["xmpp_e2e", "slixmpp_e2e"]):
        from tests.fuzz.targets import TARGETS
    for number, seed in enumerate(TARGETS[name].seeds):
        (KEPT / name / f"seed-{number}").write_bytes(seed)
    atheris.Setup([name, *arguments], TARGETS[name].run)
    atheris.Fuzz()


def main(seconds: str, *names: str) -> None:
    """Give each target its share of the time; exit with 1 if one was broken."""
    from tests.fuzz.targets import MAX_INPUT, TARGETS

    chosen = names or tuple(TARGETS)
    broken = []
    for name in chosen:
        (KEPT / name).mkdir(parents=True, exist_ok=True)
        limits = [f"-max_total_time={max(1, int(seconds) // len(chosen))}", f"-max_len={MAX_INPUT}"]
        limits += [f"-rss_limit_mb={_MEMORY_MIB}", f"-timeout={_INPUT_SECONDS}", f"-artifact_prefix={KEPT}/{name}-"]
        command = [sys.executable, "-m", "tests.fuzz.run", "--one", name, *limits, "-verbosity=0", "-print_final_stats=1"]
        print(f"--- {name}", flush=True)
        if subprocess.run([*command, str(KEPT / name)], check=False).returncode:
            broken.append(name)
    sys.exit(f"broken: {', '.join(broken)}" if broken else 0)


if __name__ == "__main__":
    if sys.argv[1] == "--one":
        fuzz(sys.argv[2], sys.argv[3:])
    else:
        main(*sys.argv[1:])
