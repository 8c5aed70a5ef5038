package org.modegpt.tasks;

import java.util.ArrayList;
import java.util.HashSet;
import java.util.List;
import java.util.Set;

/// Draws what Python's `random.Random(seed).sample` draws (Mersenne Twister MT19937, Matsumoto and
/// Nishimura 1998), so that few-shot examples are those of lm-evaluation-harness.
final class PythonRandom {
  private static final int N = 624;
  private static final int M = 397;

  private final int[] state = new int[N];
  private int next = N;

  PythonRandom(int seed) {
    state[0] = 19650218;
    for (int i = 1; i < N; i++) {
      state[i] = 1812433253 * (state[i - 1] ^ (state[i - 1] >>> 30)) + i;
    }
    int i = 1;
    for (int k = N; k > 0; k--) {
      state[i] = (state[i] ^ ((state[i - 1] ^ (state[i - 1] >>> 30)) * 1664525)) + seed;
      i = following(i);
    }
    for (int k = N - 1; k > 0; k--) {
      state[i] = (state[i] ^ ((state[i - 1] ^ (state[i - 1] >>> 30)) * 1566083941)) - i;
      i = following(i);
    }
    state[0] = 0x80000000;
  }

  private int following(int i) {
    if (i + 1 < N) {
      return i + 1;
    }
    state[0] = state[N - 1];
    return 1;
  }

  private int next32() {
    if (next == N) {
      for (int k = 0; k < N; k++) {
        int y = (state[k] & 0x80000000) | (state[(k + 1) % N] & 0x7fffffff);
        state[k] = state[(k + M) % N] ^ (y >>> 1) ^ ((y & 1) == 0 ? 0 : 0x9908b0df);
      }
      next = 0;
    }
    int y = state[next++];
    y ^= y >>> 11;
    y ^= (y << 7) & 0x9d2c5680;
    y ^= (y << 15) & 0xefc60000;
    return y ^ (y >>> 18);
  }

  /// A whole number from 0 to `bound - 1`.
  int below(int bound) {
    int bits = 32 - Integer.numberOfLeadingZeros(bound);
    int draw = next32() >>> (32 - bits);
    while (draw >= bound) {
      draw = next32() >>> (32 - bits);
    }
    return draw;
  }

  /// `count` different elements.
  <T> List<T> sample(List<T> population, int count) {
    int n = population.size();
    int setSize = 21;
    if (count > 5) {
      setSize += (int) Math.pow(4, Math.ceil(Math.log(count * 3.0) / Math.log(4)));
    }
    List<T> result = new ArrayList<>();
    if (n <= setSize) {
      List<T> pool = new ArrayList<>(population);
      for (int i = 0; i < count; i++) {
        int j = below(n - i);
        result.add(pool.get(j));
        pool.set(j, pool.get(n - i - 1));
      }
      return result;
    }
    Set<Integer> taken = new HashSet<>();
    for (int i = 0; i < count; i++) {
      int j = below(n);
      while (!taken.add(j)) {
        j = below(n);
      }
      result.add(population.get(j));
    }
    return result;
  }
}
