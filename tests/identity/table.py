"""The table: outcome × build, and what must come of each cell.

A **row** is an outcome and holds two bugs or more, or one that is met in several ways. A **cell** is a row under a
target: as many findings as the row has bugs, one each, of the right kind, with its own words in the title. Each bug is
met by several inputs, which differ in the caller, the line of the harness, the depth and the values.

`CANNOT_TELL` lists what no look at a process tells apart, with the reason.
"""

from dataclasses import dataclass

from identity.targets import BINDINGS, Target

# CALLER LINE DEPTH VALUE: two that differ in all that is chance, and one that differs in what is left.
MEETINGS = ("0 0 2 5", "1 0 7 12", "1 1 0 34")

ALL_WAYS = ("lines", "tables", "bare", "stripped", "plain", "thread", "native")
EXTENSIONS = tuple(binding for binding in BINDINGS if binding != "ctypes")
TRANSLATING = tuple(binding for binding in EXTENSIONS if binding != "capi")
CATCHING_NOTHING = ("capi", "ctypes")
SIMPLE = ("capi", "pybind", "ctypes")
THREADLESS = tuple(way for way in ALL_WAYS if way != "thread")


@dataclass(frozen=True)
class Bug:
    """One bug: one finding."""

    name: str
    # Any of these.
    kinds: tuple[str, ...]
    # Words that the title must hold, whatever the build.
    words: tuple[str, ...]
    # Words that it must hold where functions have names.
    functions: tuple[str, ...]
    # Words that it must not hold.
    never: tuple[str, ...]
    # Names by which inputs ask for it.
    entries: tuple[str, ...]

    @property
    def inputs(self) -> list[bytes]:
        return [f"{entry} {meeting}".encode() for entry in self.entries for meeting in MEETINGS]


def bug(name: str, kinds: str, words: str = "", function: str | None = None, never: str = "", entries: str = "") -> Bug:
    """`function` is the bug's name when it is left out, and "" for none."""
    functions = (name if function is None else function).split()
    return Bug(name, tuple(kinds.split("|")), tuple(words.split()), tuple(functions), tuple(never.split()),
               tuple(entries.split()) or (name,))  # fmt: skip


@dataclass(frozen=True)
class Row:
    name: str
    about: str
    bugs: tuple[Bug, ...]
    bindings: tuple[str, ...]
    ways: tuple[str, ...]
    # Campaigns are told apart by what they are started with: "" or "hang".
    campaign: str

    def has(self, target: Target) -> bool:
        if target.way in ("bare", "stripped") and len(self.ways) < len(ALL_WAYS) and target.binding not in SIMPLE:
            # What a file lacks, it lacks under any binding: a few rows show that for all.
            return False
        return target.binding in self.bindings and target.way in self.ways


def row(name, about, *bugs, bindings=BINDINGS, ways=("lines", "bare", "stripped"), campaign="") -> Row:
    return Row(name, about, bugs, tuple(bindings), tuple(ways), campaign)


SEGV, ABRT = "SIGSEGV", "SIGABRT"

ROWS = [
    # ---- crashes --------------------------------------------------------------------------------
    row("null", "a null pointer is written or read",
        bug("null_a", "signal", SEGV), bug("null_b", "signal", SEGV), ways=(*ALL_WAYS, "handler")),
    row("two lines", "two crashes in one function",
        bug("line_a", "signal", SEGV, "picks"), bug("line_b", "signal", SEGV, "picks"), ways=ALL_WAYS),
    row("divide", "the processor refuses to divide",
        bug("divide_a", "signal", "SIGFPE"), bug("divide_b", "signal", "SIGFPE"), ways=(*ALL_WAYS, "handler")),
    row("trap", "the compiler's trap",
        bug("trap_a", "signal", "SIGILL"), bug("trap_b", "signal", "SIGILL"), bindings=SIMPLE),
    row("wild", "an address that nobody has",
        bug("wild_a", "signal", SEGV), bug("wild_b", "signal", SEGV), bindings=SIMPLE),
    row("bus", "a file's page behind its end",
        bug("bus_a", "signal", "SIGBUS"), bug("bus_b", "signal", "SIGBUS"), bindings=SIMPLE),
    row("call", "a call of no function, and of a wild address",
        bug("call_a", "signal", SEGV), bug("call_b", "signal", SEGV), bug("call_wild", "signal", SEGV), bindings=SIMPLE),
    row("C library", "the C library crashes over what it was given",
        bug("string_a", "signal", SEGV), bug("string_b", "signal", SEGV), ways=ALL_WAYS),
    row("inlined", "two inlined functions crash in one that holds both",
        bug("inline_a", "signal", SEGV, "inlined_a"), bug("inline_b", "signal", SEGV, "inlined_b"),
        ways=("lines", "tables", "native")),
    row("inlined, no lines", "the same, where nothing tells of the inlining",
        bug("inline_a", "signal", SEGV, "holds"), bug("inline_b", "signal", SEGV, "holds"), ways=("bare", "stripped")),
    row("template", "one line of a template, for two types",
        bug("template", "signal", SEGV, "stores", entries="template_int template_long"),
        bindings=SIMPLE, ways=("lines", "tables")),
    row("deep", "two crashes in one function, 40 to 200 calls down: no endless recursion",
        bug("deep_a", "signal", SEGV, "item", never="overflow"), bug("deep_b", "signal", SEGV, "item", never="overflow")),
    row("thread", "a crash in a thread of the library's own",
        bug("in_thread_a", "signal", SEGV, "works_badly_a"), bug("in_thread_b", "signal", "SIGFPE", "works_badly_b"), bindings=SIMPLE),
    row("lies", "a library that prints what sanitizers and the C++ library would",
        bug("lies_sanitizer", "signal", SEGV), bug("lies_bad_alloc", "signal", SEGV), bindings=SIMPLE),

    # ---- aborts and assertions --------------------------------------------------------------------
    row("abort", "abort()",
        bug("abort_a", "signal", ABRT), bug("abort_b", "signal", ABRT), ways=(*ALL_WAYS, "handler")),
    row("assert", "an assertion of the library's own code",
        bug("assert_a", "signal", "value"), bug("assert_b", "signal", "value -1"), ways=ALL_WAYS),
    row("assert, two lines", "one text at two lines of one function",
        bug("assert_line_a", "signal", "value", "same_assertion"),
        bug("assert_line_b", "signal", "value", "same_assertion")),
    row("own header", "an assertion and a crash in the library's own header, reached by two functions each",
        bug("own_at", "signal", "index", "at", entries="own_at_x own_at_y"),
        bug("own_put", "signal", SEGV, "put", entries="own_put_x own_put_y"), ways=("lines", "tables", "plain", "native")),
    row("standard header", "std::vector's operator[] looks at the index: named by its caller",
        bug("vector_a", "signal", "", never="operator[]"), bug("vector_b", "signal", "", never="operator[]"),
        ways=(*ALL_WAYS, "handler")),
    row("third header", "a header in a folder given by -isystem: named by its caller",
        bug("third_at_a", "signal", never="Slice"), bug("third_at_b", "signal", never="Slice"),
        bug("third_put_a", "signal", SEGV, never="Slice"), bug("third_put_b", "signal", SEGV, never="Slice"),
        ways=("lines", "tables", "thread", "native")),
    row("check", "a check of the library's own that prints values and addresses, then aborts",
        bug("check_a", "signal", "SIGABRT"), bug("check_b", "signal", "SIGABRT"), ways=ALL_WAYS),
    row("check, two lines", "checks go through one function that aborts; their texts differ in file and line",
        bug("check_line_a", "signal", "", "checks"), bug("check_line_b", "signal", "", "checks")),
    row("give up", "a function that does not return aborts for two callers, with one text",
        bug("give_up_a", "signal", "SIGABRT"), bug("give_up_b", "signal", "SIGABRT"), ways=("lines",)),
    row("free", "the C library finds a block freed twice",
        bug("freed_a", "signal", ABRT + " free"), bug("freed_b", "signal", ABRT + " double free"), bindings=SIMPLE),
    row("smashed stack", "the compiler's guard finds a frame overwritten",
        bug("smash_a", "signal", "stack smashing"), bug("smash_b", "signal", "stack smashing"), bindings=SIMPLE),
    row("jump", "longjmp to a frame that is gone",
        bug("jump_a", "signal", "longjmp"), bug("jump_b", "signal", "longjmp"), bindings=SIMPLE),
    row("jumped", "a jump that is no bug, and a crash after it",
        bug("jumped_a", "signal", SEGV), bug("jumped_b", "signal", SEGV), bindings=SIMPLE),

    # ---- signals and their handlers ---------------------------------------------------------------
    row("abort, not by default", "abort() with SIGABRT blocked, ignored, and handled",
        bug("abort_blocked", "signal", ABRT), bug("abort_ignored", "signal", ABRT), bug("abort_handled", "signal", ABRT)),
    row("abort, handler leaves", "the handler of SIGABRT calls _exit",
        bug("abort_leaves_a", "exit|signal"), bug("abort_leaves_b", "exit|signal")),
    row("in a handler", "a crash in a signal handler of the library's own",
        bug("in_handler_a", "signal", SEGV, "bad_handler_a"), bug("in_handler_b", "signal", SEGV, "bad_handler_b")),
    row("handler raises again", "the library handles SIGSEGV, and raises it again",
        bug("again_a", "signal", SEGV), bug("again_b", "signal", SEGV)),
    row("handler leaves", "the library handles SIGSEGV, and calls _exit",
        bug("leaves_a", "exit|signal"), bug("leaves_b", "exit|signal")),
    row("handler aborts", "the library handles SIGSEGV, prints, and aborts",
        bug("handler_aborts_a", "signal"), bug("handler_aborts_b", "signal")),

    # ---- C++ exceptions ---------------------------------------------------------------------------
    row("uncaught", "a C++ exception that nobody catches: named by type and place",
        bug("throw_a", "signal", "std::runtime_error header"), bug("throw_b", "signal", "std::runtime_error index"),
        bug("throw_type", "signal", "odd::Broken"), bug("throw_int", "signal"), bug("throw_memory", "oom"),
        bindings=CATCHING_NOTHING, ways=ALL_WAYS),
    row("uncaught, in a thread", "the same, where the binding would catch it if it came that far",
        bug("throw_a", "signal", "std::runtime_error header"), bug("throw_b", "signal", "std::runtime_error index"),
        bug("throw_type", "signal", "odd::Broken"), bug("throw_memory", "oom"),
        bindings=TRANSLATING, ways=("thread",)),
    row("uncaught, one text", "two throws of one type and text",
        bug("throw_same_a", "signal", "std::invalid_argument"), bug("throw_same_b", "signal", "std::invalid_argument"),
        bindings=CATCHING_NOTHING, ways=ALL_WAYS),
    row("uncaught, libstdc++", "libstdc++ throws for the library",
        bug("throw_at_a", "signal", "std::out_of_range"), bug("throw_at_b", "signal", "std::out_of_range"),
        bindings=CATCHING_NOTHING),
    row("uncaught, thrown on", "thrown at two places, and thrown on by one line",
        bug("rethrow_a", "signal", "std::runtime_error header", ""), bug("rethrow_b", "signal", "std::runtime_error body", ""),
        bindings=CATCHING_NOTHING),
    row("uncaught, carried", "thrown in a thread, carried by a future to one line",
        bug("carried_a", "signal", "std::domain_error left", ""), bug("carried_b", "signal", "std::domain_error right", ""),
        bindings=CATCHING_NOTHING),
    row("noexcept", "a function that promised not to throw does",
        bug("noexcept_a", "signal", "std::length_error", "promises_a"),
        bug("noexcept_b", "signal", "std::length_error", "promises_b"),
        bug("noexcept_memory", "oom", "", "promises_memory"), ways=ALL_WAYS),
    row("throw in a thread", "nobody catches in a std::thread",
        bug("thread_throw_a", "signal", "std::runtime_error", "job_a"),
        bug("thread_throw_b", "signal", "std::runtime_error", "job_b"),
        bug("thread_throw_memory", "oom", "", "job_memory")),
    row("unjoined", "a joinable std::thread is destroyed: std::terminate without an exception",
        bug("unjoined_a", "signal", never="uncaught"), bug("unjoined_b", "signal", never="uncaught"), bindings=SIMPLE, ways=("lines",)),
    row("own terminate handler", "a handler of the library's own prints, and aborts",
        bug("own_terminate_a", "signal", "std::length_error", "handled_a"),
        bug("own_terminate_b", "signal", "std::length_error", "handled_b")),
    row("terminate handler leaves", "a handler of the library's own calls _exit",
        bug("terminate_leaves_a", "exit|signal", "", "left_a"),
        bug("terminate_leaves_b", "exit|signal", "", "left_b")),
    row("translated", "the binding makes Python's exceptions of C++'s: two throws behind one line of Python",
        bug("throw_a", "exception", "RuntimeError header", ""), bug("throw_b", "exception", "RuntimeError index", ""),
        bug("throw_type", "exception", "broken", ""), bug("throw_int", "exception", "", ""),
        bug("throw_memory", "oom", "MemoryError", ""),
        bindings=TRANSLATING, ways=THREADLESS),
    row("translated, one text", "two throws of one type and text, behind one line of Python",
        bug("throw_same_a", "exception", "ValueError", ""), bug("throw_same_b", "exception", "ValueError", ""),
        bindings=TRANSLATING, ways=THREADLESS),
    row("translated, libstdc++", "libstdc++ throws for the library",
        bug("throw_at_a", "exception", "IndexError", ""), bug("throw_at_b", "exception", "IndexError", ""),
        bindings=TRANSLATING),
    row("translated, thrown on", "thrown at two places, and thrown on by one line",
        bug("rethrow_a", "exception", "RuntimeError header", ""), bug("rethrow_b", "exception", "RuntimeError body", ""),
        bindings=TRANSLATING),
    row("translated, carried", "thrown in a thread, carried by a future to one line",
        bug("carried_a", "exception", "left", ""), bug("carried_b", "exception", "right", ""), bindings=TRANSLATING),

    # ---- Python's exceptions, raised in C -----------------------------------------------------------
    row("raise", "C code sets exceptions, behind one line of Python",
        bug("raise_a", "exception", "ValueError end", ""), bug("raise_b", "exception", "ValueError length", ""),
        bug("raise_type", "exception", "TypeError", ""), bindings=EXTENSIONS, ways=THREADLESS),
    row("raise, one text", "one type and text, set in two functions",
        bug("raise_same_a", "exception", "KeyError", ""), bug("raise_same_b", "exception", "KeyError", ""),
        bindings=EXTENSIONS),
    row("no memory", "C code says that there is no memory, in two functions",
        bug("no_memory_a", "oom", "MemoryError", ""), bug("no_memory_b", "oom", "MemoryError", ""), bindings=EXTENSIONS),
    row("cause", "a call succeeds with an exception set: SystemError, because of what was set",
        bug("cause_type", "exception", "TypeError unhashable", ""), bug("cause_value", "exception", "ValueError odd", ""),
        bug("cause_memory", "oom", "MemoryError", ""), bindings=EXTENSIONS),
    row("recursion in C", "recursion in C code that Python's limit ends",
        bug("recurse_a", "exception", "RecursionError list", ""), bug("recurse_b", "exception", "RecursionError tree", ""),
        bindings=EXTENSIONS),
    row("binding's exceptions", "exceptions that the binding itself raises, or code in its own language",
        bug("binding_throw_a", "exception", "", ""), bug("binding_throw_b", "exception", "ValueError", ""),
        bindings=TRANSLATING),

    # ---- crashes in Python's and the binding's code --------------------------------------------------
    row("Python's header", "Py_DECREF and Py_INCREF of nothing: named by their callers",
        bug("decref_a", "signal", SEGV, never="Py_DECREF"), bug("decref_b", "signal", SEGV, never="Py_INCREF"),
        bindings=EXTENSIONS, ways=THREADLESS),
    row("Python's header, two lines", "two wrong Py_DECREF in one function",
        bug("decref_line_a", "signal", SEGV, "drops", never="Py_DECREF"),
        bug("decref_line_b", "signal", SEGV, "drops", never="Py_DECREF"), bindings=EXTENSIONS),
    row("interpreter", "the interpreter crashes over what it was given",
        bug("interpreter_a", "signal", SEGV), bug("interpreter_b", "signal", SEGV), bindings=EXTENSIONS),
    row("Py_FatalError", "the interpreter is asked to end",
        bug("python_fatal_a", "signal", ABRT), bug("python_fatal_b", "signal", ABRT), bindings=EXTENSIONS),
    row("binding's header", "a crash or an assertion in the binding's headers: named by its caller",
        bug("binding_a", "signal", never="handle ref_count optional"),
        bug("binding_b", "signal", never="handle ref_count optional"),
        bindings=("pybind", "nano", "boosted"), ways=THREADLESS),
    row("Cython's code", "a crash in Cython's own code",
        bug("binding_a", "signal", SEGV, "reads"), bug("binding_b", "signal", SEGV, "writes"),
        bindings=("cythonized",), ways=("lines",)),

    # ---- ends -----------------------------------------------------------------------------------------
    row("exit", "exit() at two places",
        bug("exit_a", "exit", "1"), bug("exit_b", "exit", "1"), ways=ALL_WAYS),
    row("quick_exit", "quick_exit() at two places",
        bug("quick_exit_a", "exit", "2"), bug("quick_exit_b", "exit", "2")),
    row("_exit", "_exit() at two places",
        bug("leave_a", "exit", "3"), bug("leave_b", "exit", "3")),
    row("at exit", "what runs at the end crashes",
        bug("at_exit_a", "signal", SEGV, "at_end_a"), bug("at_exit_b", "signal", SEGV, "at_end_b")),
    row("forced unwind", "the main thread ends itself",
        bug("thread_exit_a", "exit|signal"), bug("thread_exit_b", "exit|signal"), bug("cancel_a", "exit|signal"),
        bug("cancel_b", "exit|signal")),

    # ---- the stack's end --------------------------------------------------------------------------------
    row("stack overflow", "two recursions without end, each whatever leaf it ends in",
        bug("endless_a", "signal", "overflow", "walks"), bug("endless_b", "signal", "overflow", "descends"), ways=ALL_WAYS),
    row("stack overflow, shapes", "one recursion, in three orders of its calls",
        bug("endless_shapes", "signal", "overflow", "any"), ways=ALL_WAYS),

    # ---- memory -------------------------------------------------------------------------------------------
    row("growth", "memory is taken without end, at two places",
        bug("grow_a", "oom", "", "piles_up"), bug("grow_b", "oom", "", "appends"), bindings=CATCHING_NOTHING),
    row("growth, translated", "the same, where the binding makes a MemoryError of it",
        bug("grow_a", "oom", "", ""), bug("grow_b", "oom", "", ""), bindings=TRANSLATING),
    row("giant", "one allocation above all limits, at two places",
        bug("giant_a", "oom", "", "wants_much"), bug("giant_b", "oom", "", "resizes"), bindings=CATCHING_NOTHING),
    row("giant, translated", "the same, where the binding makes a MemoryError of it",
        bug("giant_a", "oom", "", ""), bug("giant_b", "oom", "", ""), bindings=TRANSLATING),
    row("malloc", "nobody looked whether malloc had memory",
        bug("malloc_a", "signal|oom", "", "unchecked_a"), bug("malloc_b", "signal|oom", "", "unchecked_b")),

    # ---- hangs ----------------------------------------------------------------------------------------------
    row("loop", "two loops without end",
        bug("spin_a", "timeout", "", "spins_a"), bug("spin_b", "timeout", "", "spins_b"),
        ways=("lines", "stripped"), campaign="hang"),
    row("loop, helpers", "one loop; the time is spent in what it calls",
        bug("spin_helpers", "timeout", "", "loops_over_helpers"), ways=("lines", "stripped"), campaign="hang"),
    row("lock", "a lock that is never free, at two places",
        bug("lock_a", "timeout"), bug("lock_b", "timeout"), bindings=SIMPLE, ways=("lines", "stripped"), campaign="hang"),
    row("sleep", "a sleep without end, at two places",
        bug("sleep_a", "timeout"), bug("sleep_b", "timeout"), bindings=SIMPLE, ways=("lines", "stripped"), campaign="hang"),

    # ---- sanitizers -------------------------------------------------------------------------------------------
    row("heap overflow", "AddressSanitizer: behind a block, at two places",
        bug("over_a", "sanitizer", "heap-buffer-overflow", "writes_behind"),
        bug("over_b", "sanitizer", "heap-buffer-overflow", "reads_behind"), bindings=("capi",), ways=("asan",)),
    row("heap overflow, two lines", "AddressSanitizer: two lines of one function",
        bug("over_line_a", "sanitizer", "heap-buffer-overflow", "overflows_at_two_lines"),
        bug("over_line_b", "sanitizer", "heap-buffer-overflow", "overflows_at_two_lines"), bindings=("capi",), ways=("asan",)),
    row("use after free", "AddressSanitizer: a freed block, at two places",
        bug("freed_read", "sanitizer", "heap-use-after-free", "reads_freed"),
        bug("freed_write", "sanitizer", "heap-use-after-free", "writes_freed"), bindings=("capi",), ways=("asan",)),
    row("stack array", "AddressSanitizer: behind an array, and in the C library",
        bug("over_array", "sanitizer", "stack-buffer-overflow", "leaves_array"),
        bug("over_copy", "sanitizer", "heap-buffer-overflow", "copies_behind"), bindings=("capi",), ways=("asan",)),
    row("stack overflow, ASan", "two recursions without end, under AddressSanitizer",
        bug("endless_a", "sanitizer", "overflow", "walks"), bug("endless_b", "sanitizer", "overflow", "descends"),
        bindings=("capi",), ways=("asan",)),
    row("crash, ASan", "crashes and aborts, under AddressSanitizer",
        bug("null_a", "sanitizer|signal", "SEGV"), bug("null_b", "sanitizer|signal", "SEGV"),
        bug("abort_a", "sanitizer|signal", "ABRT"), bindings=("capi",), ways=("asan",)),
    row("undefined, callers", "UndefinedBehaviorSanitizer: one line, two callers, other values",
        bug("add", "sanitizer", "overflow", "adds", never="2147483", entries="add_x add_y"),
        bindings=("capi",), ways=("ubsan",)),
    row("undefined", "UndefinedBehaviorSanitizer: words with digits stay, values do not",
        bug("multiply", "sanitizer", "overflow", "multiplies", never="4611686018427387903"),
        bug("index_out", "sanitizer", "index int32_t[4]", "indexes"),
        bug("shift_out", "sanitizer", "shift 32-bit", "shifts"), bindings=("capi",), ways=("ubsan",)),

    # ---- Python code -------------------------------------------------------------------------------------------
    row("Python: raise", "two lines of one function raise the same; an assertion with values",
        bug("py_raise_a", "exception", "LookupError", ""), bug("py_raise_b", "exception", "LookupError", ""),
        bug("py_assert", "exception", "AssertionError", ""), bindings=("capi",), ways=("python",)),
    row("Python: from", "two roots behind one outer exception, and each behind another that is raised from that; no memory",
        bug("py_cause_a", "exception", "KeyError", "", entries="py_cause_a py_root_a"),
        bug("py_cause_b", "exception", "IndexError", "", entries="py_cause_b py_root_b"),
        bug("py_cause_memory", "oom", "MemoryError", ""), bindings=("capi",), ways=("python",)),
    row("Python: context", "an exception while another was handled, and one `from None`: what was handled is no cause",
        bug("py_context", "exception", "OSError", ""), bug("py_hidden", "exception", "BufferError", ""),
        bindings=("capi",), ways=("python",)),
    row("Python: recursion", "recursion that Python ends, whichever line it ends in",
        bug("py_recurse_a", "exception", "RecursionError", ""), bug("py_recurse_b", "exception", "RecursionError", ""),
        bug("py_recurse_shapes", "exception", "RecursionError", ""), bindings=("capi",), ways=("python",)),
    row("Python: exit", "sys.exit at two lines, os._exit and os.abort in two functions each",
        bug("py_exit_a", "exit", "4", ""), bug("py_exit_b", "exit", "4", ""), bug("py_leave_a", "exit", "5", ""),
        bug("py_leave_b", "exit", "5", ""), bug("py_abort_a", "signal", ABRT, ""), bug("py_abort_b", "signal", ABRT, ""),
        bindings=("capi",), ways=("python",)),
    row("Python: memory", "MemoryError at two lines",
        bug("py_memory_a", "oom", "", ""), bug("py_memory_b", "oom", "", ""), bindings=("capi",), ways=("python",)),
    row("Python: loop", "two loops in Python, a loop over short native calls, a sleep",
        bug("py_spin_a", "timeout", "spins_in_python_a", ""), bug("py_spin_b", "timeout", "spins_in_python_b", ""),
        bug("py_calls", "timeout", "calls_without_end", ""), bug("py_sleep", "timeout", "py_sleep", ""),
        bindings=("capi",), ways=("python",), campaign="hang"),
]  # fmt: skip

# What no look at a process tells apart, and why. `docs/` quotes this.
CANNOT_TELL = {
    "two bugs on one line of source": "A line is the finest name: code of one line is compiled to several places by "
    "inlining, templates and unrolling, and these must stay one bug.",
    "one inlined function's bug in two holders, without debug information": "Nothing in the file says that the two "
    "places were one function: they are two findings.",
    "one template's bug for two types, without debug information": "As for inlined functions: two places, and nothing "
    "says that they are one line.",
    "a header from elsewhere, in a library without debug information": "A function that is not inlined has a name and "
    "no file. By its name alone it is known when it is `std::`, the compiler's, Python's or the binding's; a third "
    "party's is taken for the library's own.",
    "two endless loops in one function": "The function is all that stays the same from look to look.",
    "exits by a raw system call, and SIGKILL to oneself, at two places": "Nothing of the process is left to ask.",
    "one wild write, whose damage shows at several places": "Each place is a crash of its own. AddressSanitizer finds the "
    "write itself.",
    "two functions that return NULL without setting an exception, behind one line of Python": "Python notices after the "
    "function has returned; no stack and no text has its name.",
}


def targets() -> list[Target]:
    """All targets of the table, in its order."""
    some = [Target(binding, way) for binding in BINDINGS for way in ALL_WAYS]
    # nanobind and Boost.Python cost most to compile; what `plain` shows does not depend on the binding.
    some = [t for t in some if not (t.way == "plain" and t.binding in ("nano", "boosted"))]
    return [*some, Target("capi", "handler"), Target("pybind", "handler"), Target("capi", "python"), Target("capi", "asan"),
            Target("capi", "ubsan")]  # fmt: skip


def campaigns() -> list[tuple[Target, str]]:
    return [(target, kind) for target in targets() for kind in ("", "hang") if rows(target, kind)]


def rows(target: Target, campaign: str) -> list[Row]:
    return [row for row in ROWS if row.campaign == campaign and row.has(target)]


def cells() -> list[tuple[Row, Target]]:
    return [(row, target) for row in ROWS for target in targets() if row.has(target)]

