/*
 * Moves the wall clock of the program that this is loaded into (LD_PRELOAD) by the seconds that a file
 * holds, while it runs. Clocks that only go forward are left alone.
 */
#define _GNU_SOURCE
#include <dlfcn.h>
#include <fcntl.h>
#include <stdint.h>
#include <stdlib.h>
#include <sys/mman.h>
#include <time.h>
#include <unistd.h>

static const volatile int64_t *moved_by;

__attribute__((constructor)) static void begin(void) {
  const char *path = getenv("PULLGATE_TEST_CLOCK");
  int file = path ? open(path, O_RDONLY | O_CLOEXEC) : -1;
  if (file < 0) {
    return;
  }
  void *shared = mmap(NULL, sizeof *moved_by, PROT_READ, MAP_SHARED, file, 0);
  close(file);
  if (shared != MAP_FAILED) {
    moved_by = shared;
  }
}

int clock_gettime(clockid_t which, struct timespec *now) {
  static int (*real)(clockid_t, struct timespec *);
  if (!real) {
    real = (int (*)(clockid_t, struct timespec *))dlsym(RTLD_NEXT, "clock_gettime");
  }
  int failed = real(which, now);
  if (!failed && which == CLOCK_REALTIME && moved_by) {
    now->tv_sec += *moved_by;
  }
  return failed;
}
