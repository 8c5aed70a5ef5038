#define _GNU_SOURCE
#include "caps.h"

#include <stdint.h>
#include <string.h>
#include <unistd.h>

#if defined(__linux__)
#include <sched.h>
#endif

static const char *const names[MG_ISA_COUNT] = {"generic", "avx2", "avx512", "avx512bf16"};

#if defined(__x86_64__)
#include <cpuid.h>

/* Register state the operating system saves; a CPU feature without it would fault or be lost at a context switch. */
static uint64_t saved_state(void) {
  uint32_t low, high;
  __asm__ volatile("xgetbv" : "=a"(low), "=d"(high) : "c"(0));
  return (uint64_t)high << 32 | low;
}

mg_isa mg_best_isa(void) {
  enum { FMA = 1 << 12, OSXSAVE = 1 << 27, F16C = 1 << 29 };                         /* leaf 1, ecx */
  enum { AVX2 = 1 << 5, AVX512F = 1 << 16, AVX512DQ = 1 << 17, AVX512BW = 1 << 30 }; /* leaf 7, ebx */
  const uint32_t AVX512VL = 1u << 31, need1 = FMA | OSXSAVE | F16C, need512 = AVX512F | AVX512DQ | AVX512BW | AVX512VL;
  const uint64_t YMM = 0x06, ZMM = 0xe6;
  unsigned a, b, c, d;
  if (!__get_cpuid(1, &a, &b, &c, &d) || (c & need1) != need1) return MG_ISA_GENERIC;
  uint64_t state = saved_state();
  if (!__get_cpuid_count(7, 0, &a, &b, &c, &d) || !(b & AVX2) || (state & YMM) != YMM) return MG_ISA_GENERIC;
  if ((b & need512) != need512 || (state & ZMM) != ZMM) return MG_ISA_AVX2;
  if (a < 1 || !__get_cpuid_count(7, 1, &a, &b, &c, &d) || !(a & 1 << 5)) return MG_ISA_AVX512;
  return MG_ISA_AVX512BF16;
}
#else
mg_isa mg_best_isa(void) { return MG_ISA_GENERIC; }
#endif

const char *mg_isa_name(mg_isa isa) { return names[isa]; }

int mg_isa_parse(const char *name) {
  for (int i = 0; i < MG_ISA_COUNT; i++) {
    if (strcmp(name, names[i]) == 0) return i;
  }
  return -1;
}

int mg_cpu_count(void) {
#if defined(__linux__)
  cpu_set_t set;
  if (sched_getaffinity(0, sizeof set, &set) == 0) return CPU_COUNT(&set);
#endif
  long n = sysconf(_SC_NPROCESSORS_ONLN);
  return n > 0 ? (int)n : 1;
}
