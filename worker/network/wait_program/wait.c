/* Wait for the network of a container, then become the program of its user.
 *
 * The entry point of a container in a managed network: /.r/r PROGRAM ARGUMENTS...
 *
 * - Waits until eth0 is up and there is a default IPv4 route with a gateway. Then it replaces itself
 *   by PROGRAM: same process, arguments, environment, signal mask and open files.
 * - Looks PROGRAM up in the PATH of the container, like a shell: exit code 127 when there is no such
 *   file, 126 when it cannot be run.
 * - Gives up after the seconds in the file limit_s beside it: exit code 124 and a message.
 * - A signal that would end a program ends the wait, also for process 1, whose signals the kernel
 *   drops otherwise: exit code 128 + number.
 *
 * It runs in any image: statically linked, without a C library. Build: scripts/wait-program.
 */
#include <asm/unistd.h>
#include <linux/errno.h>
#include <linux/fcntl.h>
#include <linux/sockios.h>
#include <linux/time_types.h>

#define ALL_SIGNALS (~0UL)
#define AF_INET 2
#define SOCK_DGRAM 2
#define SOCK_CLOEXEC 02000000
#define STDERR 2
#define IFF_UP 1
#define RTF_UP 1
#define RTF_GATEWAY 2

/* struct ifreq of <net/if.h>, which needs a C library. */
struct interface_request {
    char name[16];
    short flags;
    char rest[22];
};

enum { EXIT_LIMIT = 124, EXIT_NOT_RUN = 126, EXIT_NOT_FOUND = 127, EXIT_SIGNAL = 128 };

static const char DEFAULT_PATH[] = "/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin";
static const long DEFAULT_LIMIT_S = 300;
/* When one line says that the program still waits. */
static const long NOTICE_S = 30;

static char buffer[1 << 16];
static char path[1 << 12];

#if defined(__x86_64__)
#define START "mov %rsp, %rdi\n and $-16, %rsp\n call begin\n"
static long sys6(long number, long a, long b, long c, long d, long e, long f) {
    long result;
    register long r10 __asm__("r10") = d;
    register long r8 __asm__("r8") = e;
    register long r9 __asm__("r9") = f;
    __asm__ volatile("syscall" : "=a"(result)
                     : "a"(number), "D"(a), "S"(b), "d"(c), "r"(r10), "r"(r8), "r"(r9)
                     : "rcx", "r11", "memory");
    return result;
}
#elif defined(__aarch64__)
#define START "mov x0, sp\n bl begin\n"
static long sys6(long number, long a, long b, long c, long d, long e, long f) {
    register long x8 __asm__("x8") = number;
    register long x0 __asm__("x0") = a;
    register long x1 __asm__("x1") = b;
    register long x2 __asm__("x2") = c;
    register long x3 __asm__("x3") = d;
    register long x4 __asm__("x4") = e;
    register long x5 __asm__("x5") = f;
    __asm__ volatile("svc #0" : "+r"(x0)
                     : "r"(x8), "r"(x1), "r"(x2), "r"(x3), "r"(x4), "r"(x5)
                     : "memory");
    return x0;
}
#else
#error "add the system calls of this architecture"
#endif

__asm__(".globl _start\n_start:\n" START);

#define SYS(number, a, b, c, d) \
    sys6(number, (long)(a), (long)(b), (long)(c), (long)(d), 0, 0)

static unsigned long length(const char *text) {
    unsigned long count = 0;
    while (text[count]) count++;
    return count;
}

static int starts_with(const char *text, const char *start) {
    while (*start)
        if (*text++ != *start++) return 0;
    return 1;
}

static void say(const char *text) { SYS(__NR_write, STDERR, text, length(text), 0); }

static void say_number(long number) {
    char digits[24];
    int at = sizeof digits - 1;
    digits[at] = 0;
    do digits[--at] = '0' + number % 10;
    while ((number /= 10) && at);
    say(digits + at);
}

static void leave(int code) {
    for (;;) SYS(__NR_exit_group, code, 0, 0, 0);
}

/* Read a file into the buffer; return its length, 0 when it cannot be read. */
static long contents(const char *name) {
    long file = SYS(__NR_openat, AT_FDCWD, name, O_RDONLY | O_CLOEXEC, 0);
    long count = 0, got;
    if (file < 0) return 0;
    while (count < (long)sizeof buffer - 1) {
        got = SYS(__NR_read, file, buffer + count, sizeof buffer - 1 - count, 0);
        if (got <= 0) break;
        count += got;
    }
    SYS(__NR_close, file, 0, 0, 0);
    buffer[count] = 0;
    return count;
}

static unsigned long hexadecimal(const char *text) {
    unsigned long value = 0;
    for (;; text++) {
        if (*text >= '0' && *text <= '9') value = value << 4 | (unsigned long)(*text - '0');
        else if (*text >= 'A' && *text <= 'F') value = value << 4 | (unsigned long)(*text - 'A' + 10);
        else return value;
    }
}

/* Whether the line in the buffer of /proc/net/route is a default route with a gateway.
 * Columns: interface, destination, gateway, flags, reference count, use, metric, mask. */
static int is_default_route(const char *line) {
    unsigned long columns[8] = {1, 1, 1, 0, 1, 1, 1, 1};
    int column = 0;
    for (; *line && *line != '\n'; line++)
        if (*line == '\t' && ++column < 8) columns[column] = hexadecimal(line + 1);
    return column >= 7 && columns[1] == 0 && columns[7] == 0 &&
           (columns[3] & (RTF_UP | RTF_GATEWAY)) == (RTF_UP | RTF_GATEWAY);
}

static int has_default_route(void) {
    const char *line = buffer;
    if (!contents("/proc/net/route")) return 0;
    while (*line) {
        if (is_default_route(line)) return 1;
        while (*line && *line++ != '\n') continue;
    }
    return 0;
}

/* What the network still lacks; a null pointer when it is complete. */
static const char *missing(void) {
    struct interface_request request = {.name = {'e', 't', 'h', '0'}};
    long asker = SYS(__NR_socket, AF_INET, SOCK_DGRAM | SOCK_CLOEXEC, 0, 0);
    if (asker >= 0) { /* A container may forbid sockets; then the route decides alone. */
        long failed;
        failed = SYS(__NR_ioctl, asker, SIOCGIFFLAGS, &request, 0);
        SYS(__NR_close, asker, 0, 0, 0);
        if (failed) return "there is no interface eth0";
        if (!(request.flags & IFF_UP)) return "eth0 is down";
    }
    return has_default_route() ? 0 : "there is no default IPv4 route";
}

static long now_ms(void) {
    struct __kernel_timespec now;
    const long monotonic = 1;
    SYS(__NR_clock_gettime, monotonic, &now, 0, 0);
    return now.tv_sec * 1000 + now.tv_nsec / 1000000;
}

/* Wait for a signal; return its number, 0 after the time. */
static long signal_within(long wait_ms) {
    struct __kernel_timespec wait = {wait_ms / 1000, wait_ms % 1000 * 1000000};
    unsigned long all = ALL_SIGNALS;
    long number = SYS(__NR_rt_sigtimedwait, &all, 0, &wait, sizeof all);
    switch (number) {
        case 17: case 18: case 20: case 21: case 22: case 23: case 28:
            /* CHLD, CONT, TSTP, TTIN, TTOU, URG, WINCH: no wish that the program ends. */
            return 0;
    }
    return number > 0 ? number : 0;
}

/* The limit in seconds from the file limit_s in the folder of this program. */
static long limit_s(const char *program) {
    unsigned long at = 0, end = 0;
    const char *name = "limit_s";
    long limit = 0;
    for (; program[at] && at < sizeof path - 16; at++) {
        path[at] = program[at];
        if (program[at] == '/') end = at + 1;
    }
    while ((path[end++] = *name++)) continue;
    if (!contents(path)) return DEFAULT_LIMIT_S;
    for (const char *digit = buffer; *digit >= '0' && *digit <= '9' && limit < 1000000000; digit++)
        limit = limit * 10 + (*digit - '0');
    return limit > 0 ? limit : DEFAULT_LIMIT_S;
}

static void wait_for_network(long limit) {
    const long began_ms = now_ms();
    const char *lacking;
    int noticed = 0;
    while ((lacking = missing())) {
        const long waited_ms = now_ms() - began_ms;
        /* Short at first, since the network usually comes within a second. */
        const long pause_ms = waited_ms < 2000 ? 20 : waited_ms < 20000 ? 100 : 250;
        long number;
        if (waited_ms >= limit * 1000) {
            say("cowpoke: no network after ");
            say_number(limit);
            say(" s: ");
            say(lacking);
            say("; check the network services of Rancher on this host\n");
            leave(EXIT_LIMIT);
        }
        if (!noticed && waited_ms >= NOTICE_S * 1000) {
            noticed = 1;
            say("cowpoke: waiting for the network: ");
            say(lacking);
            say("\n");
        }
        if ((number = signal_within(pause_ms))) leave(EXIT_SIGNAL + (int)number);
    }
}

static const char *search_path(char **environment) {
    for (; *environment; environment++)
        if (starts_with(*environment, "PATH=")) return *environment + 5;
    return DEFAULT_PATH;
}

/* Replace this process by the program; return the error number of the system when that fails. */
static long run(char **arguments, char **environment) {
    const char *folders = search_path(environment);
    long failed = -ENOENT;
    for (const char *at = arguments[0]; *at; at++)
        if (*at == '/') return -SYS(__NR_execve, arguments[0], arguments, environment, 0);
    if (!*arguments[0]) return ENOENT;
    for (;;) {
        unsigned long at = 0;
        const char *name = arguments[0];
        long result;
        for (; *folders && *folders != ':'; folders++)
            if (at < sizeof path - 2) path[at++] = *folders;
        if (at) path[at++] = '/'; /* An empty folder is the current one. */
        while (*name && at < sizeof path - 1) path[at++] = *name++;
        path[at] = 0;
        result = *name ? -ENAMETOOLONG : SYS(__NR_execve, path, arguments, environment, 0);
        if (result == -EACCES) failed = result;
        else if (result != -ENOENT && result != -ENOTDIR && result != -ENAMETOOLONG) return -result;
        if (!*folders++) return -failed;
    }
}

__attribute__((used, noreturn)) void begin(long *stack) {
    char **arguments = (char **)(stack + 1);
    char **environment = arguments + stack[0] + 1;
    unsigned long all = ALL_SIGNALS, before = 0;
    long number, failed;
    if (stack[0] < 2) {
        say("cowpoke: no program to run\n");
        leave(EXIT_NOT_FOUND);
    }
    SYS(__NR_rt_sigprocmask, 0, &all, &before, sizeof all);
    wait_for_network(limit_s(arguments[0]));
    if ((number = signal_within(0))) leave(EXIT_SIGNAL + (int)number);
    SYS(__NR_rt_sigprocmask, 2, &before, 0, sizeof before);
    failed = run(arguments + 1, environment);
    say("cowpoke: cannot run ");
    say(arguments[1]);
    say(failed == ENOENT ? ": no such program in the container\n"
        : failed == EACCES ? ": permission denied\n"
        : failed == ENOEXEC ? ": not a program of this machine, or a script without #!\n"
        : failed == E2BIG ? ": its arguments and environment are too long\n"
        : ": error ");
    if (failed != ENOENT && failed != EACCES && failed != ENOEXEC && failed != E2BIG) {
        say_number(failed);
        say("\n");
    }
    leave(failed == ENOENT || failed == ENOTDIR ? EXIT_NOT_FOUND : EXIT_NOT_RUN);
    __builtin_unreachable();
}
