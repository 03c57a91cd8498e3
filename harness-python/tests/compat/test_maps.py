"""Maps that memcov's users saved, imported."""

import io
import json
import os
import pickle
import struct
import subprocess
import sys
import sysconfig

import numpy
import pytest
from programs import RUNTIME, run

import hitmap
from hitmap.build import toolchain
from hitmap.compat import maps

# The edges of the fixture's extension.
STEPS = 16
HIT = (1, 3, 16)


@pytest.fixture
def library(extension):
    return extension / "steps.so"


def bits(total: int, first: int, size: int, hit=HIT) -> bytes:
    """Edges counted from 1, as bits from `first`."""
    return sum(1 << (edge - 1 + first) for edge in hit).to_bytes(size, "little")


def total(library) -> int:
    return hitmap._native.Module.of_file(library, 0).edges


def edges(snapshot) -> list[int]:
    [module] = snapshot.modules
    here = snapshot.classes([module])
    return [at + 1 for at, byte in enumerate(here) if byte]


def pickles(data: bytes):
    """What Tzer, NNSmith and their kin dumped, in every protocol."""
    for protocol in range(pickle.HIGHEST_PROTOCOL + 1):
        for value in (bytearray(data), data, (len(HIT), data), {"cov": len(HIT), "hitmap": bytearray(data)}):
            yield pickle.dumps(value, protocol)
        if protocol >= 2:
            yield pickle.dumps(numpy.frombuffer(data, numpy.uint8), protocol)
            yield pickle.dumps((len(HIT), numpy.frombuffer(data, numpy.uint8).copy()), protocol)
    # As numpy 1 named it.
    yield pickle.dumps(numpy.frombuffer(data, numpy.uint8), 2).replace(b"numpy._core.", b"numpy.core.")


def test_a_live_process_and_its_memcov_map_agree(script, library, tmp_path):
    script(f"""
import binding, pickle, steps
for number in (0, 7, 15):
    steps.step(number)
pickle.dump(binding.get_hitmap(), open({str(tmp_path / "cov.pkl")!r}, "wb"))
binding.save({str(tmp_path / "mem.bin")!r})
""")
    assert edges(maps.load(tmp_path / "cov.pkl", [library])) == [1, 8, 16]


def test_every_way_of_saving_gives_the_same(library):
    n = total(library)
    assert n == STEPS
    wanted = maps.snapshot(bits(n, 1, n), [library])
    assert edges(wanted) == list(HIT)
    for data in (bits(n, 1, n), bits(n, 1, n // 8 + 1)):
        for pickled in pickles(data):
            assert maps.snapshot(pickled, [library]) == wanted, pickled
        serialized = struct.pack("<II", len(HIT), len(data)) + data
        assert maps.snapshot(serialized, [library]) == wanted
    assert maps.snapshot(bits(n, 0, n // 8), [library], "bitmap") == wanted
    dense = bytes(edge + 1 in HIT for edge in range(n))
    assert maps.snapshot(dense, [library], "bytes") == wanted
    # memcov's own storage has no room for the last edge of a multiple of eight.
    assert edges(maps.snapshot(bits(n, 1, n // 8, HIT[:-1]), [library])) == list(HIT[:-1])


def test_several_libraries_stand_one_after_the_other(library, extension, tmp_path):
    other = tmp_path / "other.so"
    text = (extension / "steps.c").read_text() + "\nint more(int n) { return n > 3 ? n * 2 : n; }\n"
    (tmp_path / "other.c").write_text(text)
    build(tmp_path / "other.c", other)
    both = total(library) + total(other)
    snapshot = maps.snapshot(bits(both, 1, both, (16, 17)), [library, other])
    assert {module.name: module.hits for module in snapshot.modules} == {"steps.so": 1, "other.so": 1}


def build(source, library):
    run(toolchain.find(), "-O1", "-shared", "-fPIC", "-fsanitize-coverage=edge,trace-pc-guard", "-Wl,--build-id",
        f"-I{sysconfig.get_path('include')}", source, "-o", library, RUNTIME)


class Evil:
    def __reduce__(self):
        return os.system, ("touch executed",)


class Global:
    def __reduce__(self):
        return bytearray, (10**12,)


def refused() -> dict[str, tuple[bytes, str]]:
    long = pickle.dumps(bytearray(STEPS), 5)
    return {
        "a call": (pickle.dumps(Evil()), "system"),
        "a call in an old protocol": (pickle.dumps(Evil(), 0), "system"),
        "a large allocation": (pickle.dumps(Global()), "damaged"),
        "a length that lies": (b"\x80\x05\x96" + struct.pack("<Q", 10 << 30) + b"x.", "damaged"),
        "a memo that lies": (b"\x80\x02K\x01r\xff\xff\xff\x7f.", "damaged"),
        "a persistent id": (b"\x80\x02K\x01Q.", "BINPERSID"),
        "an extension": (b"\x80\x02\x82\x01.", "EXT1"),
        "an object": (pickle.dumps(io.BytesIO(b"x")), "NEWOBJ"),
        "no map": (pickle.dumps(5), "0 maps"),
        "two maps": (pickle.dumps([bytes(STEPS), bytes(STEPS)]), "2 maps"),
        "numbers of eight bytes": (pickle.dumps(numpy.zeros(STEPS)), "f8"),
        "an array of objects": (pickle.dumps(numpy.array([None])), "O8"),
        "two dimensions": (pickle.dumps(numpy.zeros((4, 4), numpy.uint8)), "dimension"),
        "a number that does not fit": (pickle.dumps((9, bits(STEPS, 1, STEPS))), "it says 9"),
        "too short": (bytes(1), "it has 1 bytes"),
        "too long": (bytes(4 * STEPS), "it has 64 bytes"),
        "nothing": (b"", "it has 0 bytes"),
        "edges past the last": (b"\xff" * STEPS, "bit 0 is set"),
        "cut off": (long[:-3] + b".", "damaged"),
        "hitmap's own": (b"hitmap\0V", "merge"),
    }


@pytest.mark.parametrize("what", refused())
def test_what_is_no_map_is_refused_by_name_and_never_run(library, tmp_path, monkeypatch, what):
    monkeypatch.chdir(tmp_path)
    data, says = refused()[what]
    (tmp_path / "cov.pkl").write_bytes(data)
    with pytest.raises(ValueError, match="cov.pkl: ") as told:
        maps.load(tmp_path / "cov.pkl", [library])
    assert says in str(told.value)
    assert not (tmp_path / "executed").exists()


def test_any_cut_or_flipped_pickle_is_an_error_or_a_map(library):
    for whole in list(pickles(bits(STEPS, 1, STEPS)))[::6]:
        for size in range(len(whole)):
            check(whole[:size], library)
        for bit in range(len(whole) * 8):
            flipped = bytearray(whole)
            flipped[bit // 8] ^= 1 << bit % 8
            check(bytes(flipped), library)


def check(data, library):
    try:
        maps.snapshot(data, [library])
    except ValueError:
        pass


def test_libraries_without_coverage_are_refused(library, tmp_path):
    for strange in (sys.executable, __file__, tmp_path, tmp_path / "absent"):
        with pytest.raises(ValueError, match=str(strange)):
            maps.snapshot(bytes(STEPS), [strange])
    with pytest.raises(ValueError, match="name the libraries"):
        maps.snapshot(bytes(STEPS), [])


def test_a_pipe_does_not_block(library, tmp_path):
    os.mkfifo(tmp_path / "pipe")
    with pytest.raises(ValueError, match="pipe"):
        maps.load(tmp_path / "pipe", [library])


def test_the_command_line_unites_maps(library, tmp_path):
    for name, hit in (("a", (1, 2)), ("b", (2, 3))):
        (tmp_path / f"{name}.pkl").write_bytes(pickle.dumps(bits(STEPS, 1, STEPS, hit)))

    def called(*words):
        command = [sys.executable, "-m", "hitmap", "import", *map(str, words)]
        return subprocess.run(command, cwd=tmp_path, capture_output=True, text=True)

    done = called("a.pkl", "b.pkl", "--library", library, "-o", "ab.hitmap", "--json")
    assert done.returncode == 0, done.stderr
    assert json.loads(done.stdout) == {"out": "ab.hitmap", "maps": 2, "hits": 3, "edges": STEPS}
    assert edges(hitmap.Snapshot.load(tmp_path / "ab.hitmap")) == [1, 2, 3]
    assert "3 of 16 edges" in called("a.pkl", "b.pkl", "-l", library, "-o", "ab.hitmap").stdout
    (tmp_path / "bad.pkl").write_bytes(pickle.dumps(Evil()))
    done = called("bad.pkl", "-l", library, "-o", "bad.hitmap")
    assert (done.returncode, done.stdout) == (4, "")
    assert "bad.pkl: " in done.stderr and "Traceback" not in done.stderr
    assert not (tmp_path / "bad.hitmap").exists()
    assert called().returncode == 4
    assert "hitmap import cov.pkl" in called("--help").stdout
