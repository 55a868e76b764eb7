"""The processes of a run, started once and used by many tests, as starting takes longer than what they do.

As a script this is one of them: it reads lines of a file and a run folder and answers with what `train(folder)` of that
file returns.
"""

import functools
import json
import runpy
import subprocess
import sys
from pathlib import Path


class Ranks:
    """Processes that train frozen runs together, one run after the other."""

    def __init__(self, number, log):
        from genzoo.core.launch import environment, free_port

        self.log, self.processes, port = log, [], free_port()
        for rank in range(number):
            self.processes.append(
                subprocess.Popen(
                    [sys.executable, __file__], env=environment(rank, number, port), text=True,
                    stdin=subprocess.PIPE, stdout=subprocess.PIPE, stderr=open(log, "a"),
                )
            )  # fmt: skip

    def train(self, file, folder):
        """`train(folder)` of `file` in every process; all of them have to return 0."""
        for process in self.processes:
            print(json.dumps([str(file), str(folder)]), file=process.stdin, flush=True)
        answers = [process.stdout.readline() for process in self.processes]  # nothing, of one that has ended
        assert answers == ["0\n"] * len(answers), Path(self.log).read_text()[-3000:]

    def end(self):
        for process in self.processes:
            process.kill()
            process.communicate()


@functools.cache
def trainer(file):
    return runpy.run_path(file)["train"]


def main():
    answers, sys.stdout = sys.stdout, sys.stderr  # whatever else is printed is no answer
    for line in sys.stdin:
        file, folder = json.loads(line)
        print(trainer(file)(folder), file=answers, flush=True)


if __name__ == "__main__":
    main()
