/*
 * Preloaded into a program of the lab, so that its boot clock can jump as it does while a laptop sleeps.
 *
 * SLUSS_LAB_CLOCK names a file with one 64-bit number of nanoseconds, in the order of this machine. It is added to
 * CLOCK_BOOTTIME. When the file is written, armed boot-time timers are set anew: what has become due rings at once.
 * CLOCK_MONOTONIC and CLOCK_REALTIME are left alone, as the first does not count sleep and the second is not ours.
 */
#define _GNU_SOURCE
#include <dlfcn.h>
#include <errno.h>
#include <fcntl.h>
#include <pthread.h>
#include <signal.h>
#include <stdatomic.h>
#include <stdint.h>
#include <stdlib.h>
#include <sys/inotify.h>
#include <sys/mman.h>
#include <sys/timerfd.h>
#include <time.h>
#include <unistd.h>

#define SECOND 1000000000LL
#define MOST_DESCRIPTORS 1024

static int (*real_gettime)(clockid_t, struct timespec *);
static int (*real_create)(int, int);
static int (*real_settime)(int, int, const struct itimerspec *, struct itimerspec *);
static int (*real_close)(int);

static _Atomic int64_t *offset;

/* Boot-time timers by descriptor, with the moment they ring by the jumping clock, and their period. */
static struct {
	int is_ours;
	int64_t at, every;
} timers[MOST_DESCRIPTORS];
static pthread_mutex_t timers_lock = PTHREAD_MUTEX_INITIALIZER;

static int64_t nanoseconds(struct timespec t)
{
	return t.tv_sec * SECOND + t.tv_nsec;
}

static struct timespec timespec(int64_t ns)
{
	return (struct timespec){ .tv_sec = ns / SECOND, .tv_nsec = ns % SECOND };
}

static int64_t jumped(void)
{
	return offset ? atomic_load(offset) : 0;
}

static int arm(int fd)
{
	/* A moment that has passed rings at once; zero would disarm. */
	int64_t at = timers[fd].at - jumped();
	struct itimerspec spec = { timespec(timers[fd].every), timespec(at > 0 ? at : 1) };
	return real_settime(fd, TFD_TIMER_ABSTIME, &spec, NULL);
}

static void *watch(void *inotify)
{
	char events[4096];

	while (read((int)(intptr_t)inotify, events, sizeof events) > 0 || errno == EINTR) {
		pthread_mutex_lock(&timers_lock);
		for (int fd = 0; fd < MOST_DESCRIPTORS; fd++) {
			struct itimerspec left;
			if (timers[fd].is_ours && timerfd_gettime(fd, &left) == 0 && nanoseconds(left.it_value) > 0)
				arm(fd);
		}
		pthread_mutex_unlock(&timers_lock);
	}
	return NULL;
}

/* Other libraries' constructors may call us before ours has run. */
static void resolve(void)
{
	if (real_close)
		return;
	real_gettime = (__typeof__(real_gettime))dlsym(RTLD_NEXT, "clock_gettime");
	real_create = (__typeof__(real_create))dlsym(RTLD_NEXT, "timerfd_create");
	real_settime = (__typeof__(real_settime))dlsym(RTLD_NEXT, "timerfd_settime");
	real_close = (__typeof__(real_close))dlsym(RTLD_NEXT, "close");
}

__attribute__((constructor)) static void start(void)
{
	const char *path = getenv("SLUSS_LAB_CLOCK");
	sigset_t all, before;
	pthread_t thread;

	resolve();
	if (!path)
		return;
	int file = open(path, O_RDONLY | O_CLOEXEC);
	int inotify = inotify_init1(IN_CLOEXEC);
	if (file < 0 || inotify < 0 || inotify_add_watch(inotify, path, IN_MODIFY) < 0)
		abort();
	void *shared = mmap(NULL, sizeof *offset, PROT_READ, MAP_SHARED, file, 0);
	if (shared == MAP_FAILED)
		abort();
	offset = shared;
	real_close(file);

	/* The program's signals are for its own threads. */
	sigfillset(&all);
	pthread_sigmask(SIG_SETMASK, &all, &before);
	if (pthread_create(&thread, NULL, watch, (void *)(intptr_t)inotify) != 0)
		abort();
	pthread_sigmask(SIG_SETMASK, &before, NULL);
}

int clock_gettime(clockid_t clock, struct timespec *now)
{
	resolve();
	int result = real_gettime(clock, now);
	if (result == 0 && clock == CLOCK_BOOTTIME)
		*now = timespec(nanoseconds(*now) + jumped());
	return result;
}

int timerfd_create(int clock, int flags)
{
	resolve();
	int fd = real_create(clock, flags);
	if (fd >= 0 && fd < MOST_DESCRIPTORS && clock == CLOCK_BOOTTIME) {
		pthread_mutex_lock(&timers_lock);
		timers[fd].is_ours = 1;
		pthread_mutex_unlock(&timers_lock);
	}
	return fd;
}

int timerfd_settime(int fd, int flags, const struct itimerspec *new, struct itimerspec *old)
{
	resolve();
	if (fd < 0 || fd >= MOST_DESCRIPTORS || !timers[fd].is_ours || nanoseconds(new->it_value) == 0)
		return real_settime(fd, flags, new, old);

	struct timespec now = { 0 };
	if (!(flags & TFD_TIMER_ABSTIME))
		clock_gettime(CLOCK_BOOTTIME, &now);
	pthread_mutex_lock(&timers_lock);
	if (old)
		timerfd_gettime(fd, old);
	timers[fd].at = nanoseconds(now) + nanoseconds(new->it_value);
	timers[fd].every = nanoseconds(new->it_interval);
	int result = arm(fd);
	pthread_mutex_unlock(&timers_lock);
	return result;
}

int close(int fd)
{
	resolve();
	if (fd >= 0 && fd < MOST_DESCRIPTORS && timers[fd].is_ours) {
		pthread_mutex_lock(&timers_lock);
		timers[fd].is_ours = 0;
		pthread_mutex_unlock(&timers_lock);
	}
	return real_close(fd);
}
