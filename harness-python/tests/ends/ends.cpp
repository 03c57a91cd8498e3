// Ways out of a target, one function each, and three bindings to call them by: PyInit_ends is the plain C
// API, `go` is for ctypes, and -DPYBIND makes a pybind11 module of the same.

#define PY_SSIZE_T_CLEAN
#include <Python.h>

#include <atomic>
#include <csetjmp>
#include <csignal>
#include <cassert>
#include <cstdio>
#include <cstdlib>
#include <cstring>
#include <exception>
#include <fcntl.h>
#include <functional>
#include <map>
#include <new>
#include <pthread.h>
#include <stdexcept>
#include <string>
#include <sys/mman.h>
#include <sys/wait.h>
#include <thread>
#include <unistd.h>
#include <vector>

#define WAY extern "C" __attribute__((noinline, noclone)) void

static volatile int sink;
static jmp_buf at_import;
static sigjmp_buf inside;

struct own_error : std::runtime_error {
    int other = 7;
    own_error() : std::runtime_error("own words") {}
};
struct two_bases : std::vector<int>, std::logic_error {
    two_bases() : std::logic_error("second base") {}
};
struct guard {
    ~guard() { sink = sink + 1; }
};

WAY way_throw() { throw std::runtime_error("bad header"); }
WAY way_throw_own() { throw own_error(); }
WAY way_throw_second_base() { throw two_bases(); }
WAY way_throw_int() { throw 42; }
WAY way_throw_pointer() { throw "text"; }
WAY way_bad_alloc() { throw std::bad_alloc(); }
WAY way_bad_array() { throw std::bad_array_new_length(); }
WAY way_throw_over_guard() { guard g; way_throw(); sink = sink + 1; }
WAY way_noexcept() { [&]() noexcept { way_throw(); sink = sink + 1; }(); sink = sink + 1; }
WAY way_joinable() { std::thread t([] { sleep(1); }); (void)t; }
WAY way_terminate() { std::terminate(); }
WAY way_handler_exits() { std::set_terminate([] { _exit(9); }); way_throw(); }
WAY way_handler_aborts() {
    std::set_terminate([] { fputs("their handler\n", stderr); abort(); });
    way_throw();
}
WAY way_pure() {
    struct base { base() { call(); } void call() { f(); } virtual void f() = 0; };
    struct derived : base { void f() override { sink = 1; } };
    derived d;
    (void)d;
}

WAY way_null() { *(volatile int *)8 = 1; sink = sink + 1; }
WAY way_abort() { abort(); }
WAY way_abort_blocked() {
    sigset_t set;
    sigemptyset(&set);
    sigaddset(&set, SIGABRT);
    pthread_sigmask(SIG_BLOCK, &set, nullptr);
    abort();
}
WAY way_fault_blocked() {
    sigset_t set;
    sigfillset(&set);
    pthread_sigmask(SIG_BLOCK, &set, nullptr);
    way_null();
    sink = sink + 1;
}
WAY way_assert() { assert(sink == 12345 && "the answer"); }
WAY way_double_free() {
    void *volatile p = malloc(24);
    free(p);
    free(p);
}
static volatile int zero;
WAY way_divide() { sink = 100 / zero; }
WAY way_overflow() {
    volatile char block[300];
    block[sink & 7] = 1;
    way_overflow();
    sink = sink + block[3];
}
WAY way_overflow_big() {
    volatile char block[200000];
    block[sink & 7] = 1;
    way_overflow_big();
    sink = sink + block[3];
}
WAY way_jump_nowhere() { ((void (*)())0x1234)(); sink = sink + 1; }

WAY way_exit() { exit(3); }
WAY way_exit_now() { _exit(4); }
WAY way_Exit_now() { _Exit(4); }
WAY way_quick_exit() { quick_exit(5); }
WAY way_thread_exit() { pthread_exit(nullptr); }
WAY way_thread_exit_over_guard() { guard g; way_thread_exit(); sink = sink + 1; }
WAY way_cancelled() {
    pthread_cancel(pthread_self());
    pthread_testcancel();
    sink = sink + 1;
}
WAY way_jump_out() { longjmp(at_import, 1); }

static void on_fault_abort(int) { abort(); }
static void on_fault_exit(int) { exit(6); }
static void on_fault_exit_now(int) { _exit(6); }
static void on_fault_jump(int) { siglongjmp(inside, 1); }
static void on_fault_again(int number) { signal(number, SIG_DFL); raise(number); }
static void on_fault_return(int number) { signal(number, SIG_DFL); }
static void handle(int number, void (*handler)(int), int flags = 0) {
    struct sigaction action = {};
    action.sa_handler = handler;
    action.sa_flags = flags;
    sigaction(number, &action, nullptr);
}
WAY way_fault_then_abort() { handle(SIGSEGV, on_fault_abort); way_null(); sink = sink + 1; }
WAY way_fault_then_exit() { handle(SIGSEGV, on_fault_exit); way_null(); sink = sink + 1; }
WAY way_fault_then_exit_now() { signal(SIGSEGV, on_fault_exit_now); way_null(); sink = sink + 1; }
WAY way_fault_again() { handle(SIGSEGV, on_fault_again); way_null(); sink = sink + 1; }
WAY way_fault_return() { handle(SIGSEGV, on_fault_return); way_null(); sink = sink + 1; }
WAY way_fault_once() { handle(SIGSEGV, [](int) {}, SA_RESETHAND); way_null(); sink = sink + 1; }
WAY way_fault_ignored() { signal(SIGSEGV, SIG_IGN); way_null(); sink = sink + 1; }
WAY way_recovered_then_abort() {
    handle(SIGSEGV, on_fault_jump);
    if (sigsetjmp(inside, 1) == 0) way_null();
    abort();
}
WAY way_recovered_then_exit() {
    handle(SIGSEGV, on_fault_jump);
    if (sigsetjmp(inside, 1) == 0) way_null();
    exit(3);
}
WAY way_overflow_handled() {
    // Without SA_ONSTACK the kernel finds no room for the handler.
    handle(SIGSEGV, on_fault_exit);
    way_overflow();
    sink = sink + 1;
}
static void on_alarm(int) { way_null(); sink = sink + 1; }
WAY way_fault_in_alarm() {
    handle(SIGALRM, on_alarm);
    raise(SIGALRM);
    sink = sink + 1;
}
WAY way_alarm() { raise(SIGALRM); sink = sink + 1; }
WAY way_user_signal() { raise(SIGUSR1); sink = sink + 1; }
WAY way_user_signal_reset() {
    handle(SIGUSR2, on_fault_exit);
    signal(SIGUSR2, SIG_DFL);
    raise(SIGUSR2);
    sink = sink + 1;
}
WAY way_killed_by_child() {
    pid_t parent = getpid();
    if (fork() == 0) { kill(parent, SIGTERM); _exit(0); }
    for (;;) pause();
}

// Ways back: the run goes on, and nothing may be noted.
WAY way_recovers() {
    handle(SIGSEGV, on_fault_jump);
    if (sigsetjmp(inside, 1) == 0) way_null();
    if (sigsetjmp(inside, 1) == 0) way_null();
    sink = sink + 1;
}
WAY way_ignores() {
    signal(SIGTRAP, SIG_IGN);
    raise(SIGTRAP);
    signal(SIGTERM, SIG_IGN);
    raise(SIGTERM);
    signal(SIGTERM, SIG_DFL);
}
static void on_trap(int, siginfo_t *info, void *) { sink = info->si_code; }
WAY way_answers() {
    // What was set is what is answered.
    struct sigaction mine = {}, old = {}, got = {};
    mine.sa_sigaction = on_trap;
    mine.sa_flags = SA_SIGINFO | SA_RESTART;
    sigaddset(&mine.sa_mask, SIGUSR1);
    sigaction(SIGTRAP, &mine, &old);
    sigaction(SIGTRAP, nullptr, &got);
    if (got.sa_sigaction != on_trap || !(got.sa_flags & SA_RESTART) || !sigismember(&got.sa_mask, SIGUSR1)) abort();
    raise(SIGTRAP);
    if (sink > 0) abort();
    sigaction(SIGTRAP, &old, &got);
    if (got.sa_sigaction != on_trap) abort();
    if (signal(SIGALRM, SIG_DFL) != SIG_DFL) abort();
    if (signal(SIGALRM, on_alarm) != SIG_DFL || signal(SIGALRM, SIG_DFL) != on_alarm) abort();
    if (sigset(SIGTRAP, on_alarm) != old.sa_handler || sigset(SIGTRAP, old.sa_handler) != on_alarm) abort();
    std::terminate_handler before = std::get_terminate();
    if (std::set_terminate(abort) != before || std::get_terminate() != abort) abort();
    if (std::set_terminate(before) != abort) abort();
}
WAY way_catches() {
    for (int i = 0; i < 100; i++)
        try { way_throw_over_guard(); } catch (const std::exception &e) { sink = e.what()[0]; }
}
WAY way_threads() {
    for (int i = 0; i < 200; i++) std::thread([] { way_catches(); }).join();
}

#define ENTRY(name) {#name, way_##name}
static const std::map<std::string, void (*)()> ways = {
    ENTRY(throw), ENTRY(throw_own), ENTRY(throw_second_base), ENTRY(throw_int), ENTRY(throw_pointer), ENTRY(bad_alloc), ENTRY(bad_array),
    ENTRY(throw_over_guard), ENTRY(noexcept), ENTRY(joinable), ENTRY(terminate), ENTRY(handler_exits),
    ENTRY(handler_aborts), ENTRY(pure), ENTRY(null), ENTRY(abort), ENTRY(abort_blocked), ENTRY(fault_blocked),
    ENTRY(assert), ENTRY(double_free), ENTRY(divide), ENTRY(overflow), ENTRY(overflow_big), ENTRY(jump_nowhere),
    ENTRY(exit), ENTRY(exit_now), ENTRY(Exit_now), ENTRY(quick_exit), ENTRY(thread_exit),
    ENTRY(thread_exit_over_guard), ENTRY(cancelled), ENTRY(jump_out), ENTRY(fault_then_abort),
    ENTRY(fault_then_exit), ENTRY(fault_then_exit_now), ENTRY(fault_again), ENTRY(fault_return), ENTRY(fault_once),
    ENTRY(fault_ignored), ENTRY(recovered_then_abort), ENTRY(recovered_then_exit), ENTRY(overflow_handled),
    ENTRY(fault_in_alarm), ENTRY(alarm), ENTRY(user_signal), ENTRY(user_signal_reset), ENTRY(killed_by_child),
    ENTRY(recovers), ENTRY(ignores), ENTRY(answers), ENTRY(catches), ENTRY(threads),
};

// The path to a way is the same for all, and two frames deep.
extern "C" __attribute__((noinline, noclone)) void begin(void (*way)()) {
    way();
    sink = sink + 1;
}

extern "C" void go(const char *name, int in_thread) {
    void (*way)() = ways.at(name);
    if (in_thread) {
        std::thread thread(begin, way);
        thread.join();
    } else {
        begin(way);
    }
    sink = sink + 1;
}

#ifdef PYBIND
#include <pybind11/pybind11.h>
PYBIND11_MODULE(ends_pybind, m) {
    m.def("go", [](const std::string &name, int in_thread) {
        pybind11::gil_scoped_release unlocked;
        go(name.c_str(), in_thread);
    });
}
#else
static PyObject *ends_go(PyObject *, PyObject *args) {
    const char *name;
    int in_thread;
    if (!PyArg_ParseTuple(args, "si", &name, &in_thread)) return nullptr;
    Py_BEGIN_ALLOW_THREADS
    go(name, in_thread);
    Py_END_ALLOW_THREADS
    Py_RETURN_NONE;
}
static PyObject *ends_prepare(PyObject *, PyObject *) {
    // The jump ends here a second time, in a frame that is long gone.
    if (setjmp(at_import) == 0) Py_RETURN_NONE;
    Py_RETURN_TRUE;
}
static PyMethodDef methods[] = {
    {"go", ends_go, METH_VARARGS, nullptr}, {"prepare", ends_prepare, METH_NOARGS, nullptr}, {}};
static struct PyModuleDef module = {PyModuleDef_HEAD_INIT, "ends", nullptr, -1, methods};
PyMODINIT_FUNC PyInit_ends(void) { return PyModule_Create(&module); }
#endif
