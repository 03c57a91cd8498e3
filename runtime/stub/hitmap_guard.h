/* Puts the callback of guards in line, where there is no ThinLTO to do so. Included before each source
 * file that is compiled with trace-pc-guard: `-include hitmap_guard.h`.
 *
 * The compiler is told to write assembly as text (`-via-file-asm`) and not to read ours on the way
 * (`-Xclang -no-integrated-as`); then this macro stands in the text before the first call, and the
 * assembler takes it for the instruction of its name. A call of the callback becomes the callback's own
 * steps; every other call stays what it is. Read by an assembler without these flags it does nothing,
 * and calls stay calls: an object made so, or for another processor, counts the same.
 *
 * The call may have changed rax, rcx and the flags, so these are free here. rdi holds the guard. A
 * full counter is left alone; only a first touch calls, from behind the function, where it is in
 * nobody's way. rapidjson and RE2 take 1.27 and 1.23 times the plain build's time, with the call 1.7 and
 * 2.2. */
#if defined(__x86_64__) && !defined(__ILP32__) && !defined(__ASSEMBLER__)
__asm__(".ifndef .Lhitmap_guard\n"
        ".set .Lhitmap_guard, 1\n"
        ".macro callq target:vararg\n"
        ".ifc \\target,__sanitizer_cov_trace_pc_guard@PLT\n"
        "  .hidden hitmap_control\n"
        "  movl (%rdi), %eax\n"
        "  addq hitmap_control+88(%rip), %rax\n" /* live; hitmap_control.h checks the place */
        "  movzbl (%rax), %ecx\n"
        "  testb %cl, %cl\n"
        "  je .Lhitmap_first\\@\n"
        "  addb $1, %cl\n"
        "  je .Lhitmap_done\\@\n"
        "  movb %cl, (%rax)\n"
        ".Lhitmap_done\\@:\n"
        "  .subsection 1\n"
        ".Lhitmap_first\\@:\n"
        "  call __sanitizer_cov_trace_pc_guard@PLT\n"
        "  jmp .Lhitmap_done\\@\n"
        "  .previous\n"
        ".else\n"
        "  call \\target\n"
        ".endif\n"
        ".endm\n"
        ".endif\n");
#endif
