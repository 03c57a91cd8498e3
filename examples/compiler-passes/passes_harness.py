"""Fuzzes a compiler by programs and orders of passes together.

An input is a program, a tree of lists, and a list of passes; it is kept as JSON. A mutator changes the one or the
other or both, and what that reaches in the compiler decides what is kept.
"""

import json
import random

import hitmap
import passes

PASSES = ["fold", "simplify", "canonicalize", "strength", "merge", "legalize"]
INPUTS = {"add": 2, "mul": 2, "neg": 1}
LONGEST = 8  # passes in a list


def decode(data):
    program, order = json.loads(data)
    if not isinstance(order, list) or not set(order) <= set(PASSES):
        raise ValueError("no list of passes")
    return program, order


def encode(value):
    return json.dumps(value, separators=(",", ":")).encode()


def generator(seed):
    return expression(3), random.choices(PASSES, k=random.randint(1, 3))


def mutator(value, max_size, seed):
    """The program, the passes, or both: a bug may wait for a program that only some order brings out."""
    program, order = value
    what = random.choice(["program", "passes", "both"])
    if what != "passes":
        program = changed(program)
    if what != "program":
        order = reordered(order)
    # A tree that has grown too large is begun anew.
    return (program, order) if len(encode((program, order))) <= max_size else (expression(2), order)


def crossover(one, two, max_size, seed):
    """The program of one under the passes of the other."""
    return one[0], two[1]


def expression(depth):
    if depth == 0 or random.random() < 0.2:
        return "x" if random.random() < 0.5 else number()
    op = random.choice(list(INPUTS))
    return [op, *(expression(depth - 1) for _ in range(INPUTS[op]))]


def number():
    """Compilers look for 0, for 1 and for powers of two."""
    if random.random() < 0.5:
        return 1 << random.randrange(32)
    return random.choice([0, 1, 3, random.getrandbits(32)])


def changed(program):
    """A new subtree somewhere, or a new root over the old tree."""
    if random.random() < 0.3:
        op = random.choice(list(INPUTS))
        return [op, program, *(expression(1) for _ in range(INPUTS[op] - 1))]
    if isinstance(program, list) and random.random() < 0.7:
        at = random.randrange(1, len(program))
        return [*program[:at], changed(program[at]), *program[at + 1 :]]
    return expression(2)


def reordered(order):
    order = list(order)
    at = random.randrange(len(order) + 1)
    if random.random() < 0.5 and len(order) < LONGEST:
        order.insert(at, random.choice(PASSES))
    elif order:
        order.insert(at, order.pop(random.randrange(len(order))))
    return order


def text(program):
    """Prefix notation, as the compiler reads it."""
    return " ".join(map(text, program)) if isinstance(program, list) else str(program)


@hitmap.harness(
    expected=ValueError, decode=decode, encode=encode, generator=generator, mutator=mutator, crossover=crossover
)
def run(value):
    program, order = value
    passes.compile(text(program), " ".join(order))
