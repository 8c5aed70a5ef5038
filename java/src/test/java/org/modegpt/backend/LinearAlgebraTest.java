package org.modegpt.backend;

import static org.assertj.core.api.Assertions.assertThat;
import static org.assertj.core.api.Assertions.assertThatThrownBy;
import static org.assertj.core.data.Offset.offset;

import java.lang.foreign.Arena;
import org.junit.jupiter.params.ParameterizedTest;
import org.junit.jupiter.params.provider.ValueSource;
import org.modegpt.tensor.DType;
import org.modegpt.tensor.Tensor;

/// What the factorisations do where they cannot succeed, and on badly conditioned matrices.
class LinearAlgebraTest {

  private final Arena arena = Arena.ofAuto();

  /// The identity with -1 at the given place of the diagonal.
  private Tensor indefinite(int n, int at) {
    Tensor a = Tensor.allocate(arena, DType.F64, n, n);
    for (int i = 0; i < n; i++) {
      a.set(i, i, i == at ? -1 : 1);
    }
    return a;
  }

  private Tensor hilbert(int n) {
    Tensor a = Tensor.allocate(arena, DType.F64, n, n);
    for (int i = 0; i < n; i++) {
      for (int j = 0; j < n; j++) {
        a.set(i, j, 1.0 / (i + j + 1));
      }
    }
    return a;
  }

  @ParameterizedTest
  @ValueSource(strings = {"cpu", "reference"})
  void choleskyNamesTheFailingMinor(String device) {
    try (Backend b = Backends.open(device, 2)) {
      for (int n : new int[] {1, 5, 64, 200, 700}) {
        for (int at : new int[] {0, n / 2, n - 1}) {
          assertThat(b.cholesky(indefinite(n, at)))
              .as("order %d, minor %d", n, at + 1)
              .isEqualTo(at + 1);
        }
      }
    }
  }

  @ParameterizedTest
  @ValueSource(strings = {"cpu", "reference"})
  void choleskyRefusesNaN(String device) {
    try (Backend b = Backends.open(device, 2)) {
      Tensor a = indefinite(40, -1);
      a.set(20, 7, Double.NaN);
      assertThat(b.cholesky(a)).isEqualTo(21);
    }
  }

  /// The Hilbert matrix of order 9 has condition 5e11, that of order 20 is singular to float64.
  @ParameterizedTest
  @ValueSource(strings = {"cpu", "reference"})
  void illConditionedMatrices(String device) {
    try (Backend b = Backends.open(device, 1)) {
      Tensor a = hilbert(9);
      Tensor l = hilbert(9);
      assertThat(b.cholesky(l)).isZero();
      for (int i = 0; i < 9; i++) {
        for (int j = 0; j <= i; j++) {
          double sum = 0;
          for (int k = 0; k <= j; k++) {
            sum += l.get(i, k) * l.get(j, k);
          }
          assertThat(sum).isCloseTo(a.get(i, j), offset(4e-16));
        }
      }
      assertThat(b.cholesky(hilbert(20))).isBetween(12L, 20L);

      Tensor values = Tensor.allocate(arena, DType.F64, 1, 20);
      b.symmetricEigen(hilbert(20), values);
      assertThat(values.get(0, 19)).isCloseTo(1.9071347204072533, offset(1e-14));
      assertThat(values.get(0, 0)).isBetween(-1e-16, 1e-16);
    }
  }

  @ParameterizedTest
  @ValueSource(strings = {"cpu", "reference"})
  void zeroOnTheDiagonalHasNoInverse(String device) {
    try (Backend b = Backends.open(device, 1)) {
      Tensor l = Tensor.allocate(arena, DType.F64, 3, 3);
      assertThatThrownBy(() -> b.triangularInverse(l))
          .isInstanceOf(IllegalArgumentException.class)
          .hasMessageContaining("diagonal");
    }
  }

  @ParameterizedTest
  @ValueSource(strings = {"cpu", "reference"})
  void decompositionsRefuseNonFiniteMatrices(String device) {
    try (Backend b = Backends.open(device, 2)) {
      for (double bad : new double[] {Double.NaN, Double.POSITIVE_INFINITY}) {
        Tensor a = indefinite(50, -1);
        a.set(30, 10, bad);
        Tensor values = Tensor.allocate(arena, DType.F64, 1, 50);
        Tensor u = Tensor.allocate(arena, DType.F64, 50, 50);
        Tensor vt = Tensor.allocate(arena, DType.F64, 50, 50);
        assertThatThrownBy(() -> b.symmetricEigen(a, values))
            .isInstanceOf(IllegalArgumentException.class)
            .hasMessageContaining("[30, 10] is " + bad);
        assertThatThrownBy(() -> b.svd(a, u, values, vt))
            .isInstanceOf(IllegalArgumentException.class)
            .hasMessageContaining("[30, 10] is " + bad);
      }
    }
  }
}
