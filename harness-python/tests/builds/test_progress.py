"""What is told of a build's progress."""

import io

from hitmap.build.installer import Output
from hitmap.build.progress import Progress


class Clock:
    now = 0.0

    def __call__(self):
        return self.now


def test_plain_lines_do_not_repeat_themselves():
    clock, stream = Clock(), io.StringIO()
    told = Progress(stream, clock)
    for second in range(200):
        clock.now = float(second)
        told.count("compiled 1 file: large.cc" if second < 150 else f"compiled {second - 148} files: a.cc")
    told.once("copying ./a")
    told.once("copying ./a")
    lines = stream.getvalue().splitlines()
    assert [line.partition("]")[2] for line in lines[:4]] == [" compiled 1 file: large.cc"] * 3 + [" compiled 2 files: a.cc"]
    assert lines[-1].endswith("copying ./a") and lines[-2] != lines[-1] and len(lines) == 3 + 10 + 1


def test_build_systems_say_how_far_they_are():
    output = Output()
    for line, done in [("Collecting x", ""), ("  [3/586] Building CXX object a.o", "step 3 of 586"), ("  [ 40%] Building", "40 %"),
                       ("  [INFO] [9/9]", "40 %")]:
        output.take(line)
        assert output.done == done
