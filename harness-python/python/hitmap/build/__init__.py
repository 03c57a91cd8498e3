"""Builds C and C++ extensions with coverage: `hitmap build`, hitmap-clang and hitmap-clang++.

What happens to a package, in order:

1. `package` makes a fresh working folder; a local tree is copied into it (`source`), so the user's
   own tree is never built in.
2. pip builds a wheel there, with compilers that `shim` wrote: scripts that start `wrapper`. `tools` puts the environment's
   programs on its path. It runs under `supervise`, which ends whatever it started (`installer`).
3. `wrapper` reads each command line (`arguments`), adds what the chosen instrumentation needs
   (`variants`), the stub that every instrumented library carries (`stub`), and becomes clang
   (`toolchain` finds it).
4. `elf` reads what came out. A wheel without a single instrumented library is refused before
   anything is installed; otherwise it is installed and its edges are told.
   What went wrong instead is read from what was printed (`failures`) and from what the compilers wrote down (`log`,
   `diagnose`).
5. The same happens once more for comparisons; `beside` keeps what came out next to the ordinary build.

Nothing in this package imports hitmap's native half or anything outside the standard library, and
`wrapper` with what it imports avoids even the slow parts of that: it starts once per source file.
"""
