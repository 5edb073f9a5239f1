"""Let two programs talk while everything around them fails: ``python -m interop.chaos.run``, from the top of the repository.

It prints each seed with its faults and the verdict. The exit code is 0 if every promise was kept, 1 if not, and 128 +
the signal's number after an interruption.
"""

from __future__ import annotations

import argparse
import asyncio
import shutil
import signal
import sys
import tempfile
import traceback
from collections.abc import Sequence
from pathlib import Path

from interop.chaos.faults import FULL, QUIET, SHORT
from interop.chaos.play import Outcome, Plan, play, with_stanzas
from interop.chaos.results import markdown
from interop.chaos.stage import STAGES
from interop.run import interruptible

PROFILES = {"full": FULL, "short": SHORT, "quiet": QUIET}


def seeds(text: str) -> list[int]:
    """Return the seeds of ``7`` or ``1-20``."""
    first, _, last = text.partition("-")
    return list(range(int(first), int(last or first) + 1))


def arguments(words: Sequence[str] | None) -> argparse.Namespace:
    """Parse the command line."""
    parser = argparse.ArgumentParser(prog="python -m interop.chaos.run", description="Talk while everything fails.")
    parser.add_argument("--server", action="append", choices=sorted(STAGES), help="play here (repeatable; default Prosody)")
    parser.add_argument("--seeds", type=seeds, default=[1], metavar="N[-M]", help="the seeds of the faults")
    parser.add_argument("--profile", choices=PROFILES, default="short", help="how much is played (default short)")
    parser.add_argument("--stanzas", type=int, help="stanzas each way, instead of the profile's")
    parser.add_argument("--seconds", type=float, help="seconds in which they are given, instead of the profile's")
    parser.add_argument("--plain", action="store_true", help="without encryption, with stream management (XEP-0198)")
    parser.add_argument("--jobs", type=int, default=1, help="how many are played at once")
    parser.add_argument("--into", type=Path, help="write the figures into this file")
    return parser.parse_args(words)


async def play_all(plans: Sequence[Plan], jobs: int) -> list[Outcome | None]:
    """Play these, and print each outcome as it comes: None if the harness itself has failed. The files of what failed are
    kept."""
    places = asyncio.Semaphore(jobs)

    async def one(plan: Plan) -> Outcome | None:
        async with places:
            folder = tempfile.mkdtemp(prefix=f"xmpp-e2e-chaos-{plan.server}-{plan.seed}-")
            try:
                outcome = await play(plan, Path(folder))
            except Exception:
                print(f"{plan}\n{traceback.format_exc()}", flush=True)
                return None
            print(outcome, flush=True)
            if outcome.good:
                shutil.rmtree(folder)
            else:
                print(f"  what the programs noted and printed is in {folder}", flush=True)
            return outcome

    async with asyncio.TaskGroup() as tasks:
        playing = [tasks.create_task(one(plan)) for plan in plans]
    return [task.result() for task in playing]


def main(words: Sequence[str] | None = None) -> int:
    """Run the command line; return the exit code."""
    options = arguments(words)
    profile = with_stanzas(PROFILES[options.profile], options.stanzas, options.seconds)
    plans = [
        Plan(server, seed, profile, options.plain) for server in options.server or ["prosody"] for seed in options.seeds
    ]
    outcomes = interruptible(play_all(plans, options.jobs))
    if isinstance(outcomes, signal.Signals):
        print(f"interrupted by {outcomes.name}", file=sys.stderr)
        return 128 + outcomes
    played = [outcome for outcome in outcomes if outcome is not None]
    if options.into is not None:
        options.into.write_text(markdown(played, words or sys.argv[1:]), encoding="utf-8")
    kept = sum(outcome.good for outcome in played)
    print(f"{kept} kept every promise, {len(played) - kept} did not, {len(outcomes) - len(played)} could not be played")
    return 0 if kept == len(outcomes) else 1


if __name__ == "__main__":
    sys.exit(main())
