"""Reads from an ELF file what the build must know of it. Knows nothing of packages or compilers."""

import struct

PT_LOAD, PT_DYNAMIC, PT_NOTE = 1, 2, 4
DT_NULL, DT_NEEDED, DT_STRTAB = 0, 1, 5
NT_GNU_BUILD_ID = 3
OWNER = b"hitmap\0"

# Bytes that one edge takes in each section of SanitizerCoverage; the exact ones first, as the stub
# pads counters and flags to whole pages.
PER_EDGE = {"__sancov_pcs": 16, "__sancov_guards": 4, "__sancov_bools": 1, "__sancov_cntrs": 1}


class Library:
    """One shared library or executable."""

    def __init__(self, build_id, carries_stub, coverage, needed, named):
        self.build_id = build_id            # hex, or None
        self.carries_stub = carries_stub    # the note by which a runtime finds it is there
        self.coverage = coverage            # bytes in each section of SanitizerCoverage that is not empty
        self.needed = needed                # names of the libraries it wants
        self.named = named                  # its symbols are there, local ones too

    @property
    def edges(self):
        """How many edges it has; 0 when no coverage was compiled in."""
        return next((self.coverage[name] // size for name, size in PER_EDGE.items() if name in self.coverage), 0)

    @property
    def instrumented(self):
        return self.carries_stub and self.edges > 0


def is_elf(data):
    return data[:4] == b"\x7fELF"


def read(data):
    """What a 64-bit little-endian ELF file holds; None for anything else, a broken one included."""
    if not is_elf(data) or len(data) < 64 or data[4:6] != b"\x02\x01":
        return None
    try:
        segments = list(program_headers(data))
        owners, build_id = notes(data, segments)
        sections = dict(section_lengths(data))
        coverage = {name: length for name, length in sections.items() if name in PER_EDGE and length}
        return Library(build_id, OWNER in owners, coverage, needed(data, segments), ".symtab" in sections)
    except (struct.error, ValueError, OverflowError):
        return None


def program_headers(data):
    """(type, offset, address, size in the file) of each segment."""
    (table,) = struct.unpack_from("<Q", data, 32)
    size, count = struct.unpack_from("<HH", data, 54)
    for index in range(count):
        kind, _, offset, address, _, length = struct.unpack_from("<IIQQQQ", data, table + index * size)
        yield kind, offset, address, length


def notes(data, segments):
    """The owners of all notes, and the build-id."""
    owners, build_id = set(), None
    for kind, offset, _, length in segments:
        if kind != PT_NOTE:
            continue
        at, end = offset, min(offset + length, len(data))
        while at + 12 <= end:
            name_size, size, note = struct.unpack_from("<III", data, at)
            name = data[at + 12 : at + 12 + name_size]
            start = at + 12 + (name_size + 3 & ~3)
            owners.add(name)
            if name == b"GNU\0" and note == NT_GNU_BUILD_ID:
                build_id = data[start : start + size].hex()
            at = start + (size + 3 & ~3)
    return owners, build_id


def section_lengths(data):
    """(name, length) of each section; linkers leave empty ones behind."""
    (table,) = struct.unpack_from("<Q", data, 40)
    size, count, names_index = struct.unpack_from("<HHH", data, 58)
    if table == 0 or count == 0:
        return
    (names,) = struct.unpack_from("<Q", data, table + names_index * size + 24)
    for index in range(count):
        at = table + index * size
        (name_offset,) = struct.unpack_from("<I", data, at)
        (length,) = struct.unpack_from("<Q", data, at + 32)
        yield string(data, names + name_offset), length


def needed(data, segments):
    """Names of the libraries in the dynamic section."""
    entries = []
    for kind, offset, _, length in segments:
        if kind == PT_DYNAMIC:
            for at in range(offset, min(offset + length, len(data)), 16):
                tag, value = struct.unpack_from("<QQ", data, at)
                if tag == DT_NULL:
                    break
                entries.append((tag, value))
    tables = [value for tag, value in entries if tag == DT_STRTAB]
    if not tables:
        return []
    for kind, offset, address, length in segments:
        if kind == PT_LOAD and address <= tables[0] < address + length:
            start = offset + tables[0] - address
            return [string(data, start + value) for tag, value in entries if tag == DT_NEEDED]
    return []


def string(data, at):
    return data[at : data.index(b"\0", at)].decode() if 0 <= at < len(data) else ""
