package org.modegpt.backend;

import static org.assertj.core.api.Assertions.assertThat;

import java.lang.foreign.Arena;
import java.util.List;
import java.util.SplittableRandom;
import java.util.function.Consumer;
import org.junit.jupiter.api.AfterAll;
import org.junit.jupiter.api.Test;
import org.junit.jupiter.params.ParameterizedTest;
import org.junit.jupiter.params.provider.EnumSource;
import org.junit.jupiter.params.provider.ValueSource;
import org.modegpt.tensor.DType;
import org.modegpt.tensor.Tensor;

/// The gradients of the reference back-end against central differences of what it computes forward;
/// the native kernels are held to the reference by {@link OpCasesTest}. Differences are of sums
/// over the output with random weights, from float32 tensors: hence the large step.
class GradientOpsTest {

  private static final Backend REFERENCE = Backends.open("reference", 1);
  private static final Arena ARENA = Arena.ofAuto();
  private static final double STEP = 0x1p-7;
  private static final double TOLERANCE = 2e-3;

  private final SplittableRandom random = new SplittableRandom(5);

  @AfterAll
  static void close() {
    REFERENCE.close();
  }

  private static Tensor empty(long rows, long cols) {
    return Tensor.allocate(ARENA, DType.F32, rows, cols);
  }

  private Tensor normal(long rows, long cols) {
    Tensor t = empty(rows, cols);
    for (long i = 0; i < rows; i++) {
      for (long j = 0; j < cols; j++) {
        t.set(i, j, random.nextGaussian());
      }
    }
    return t;
  }

  private static Tensor copy(Tensor t) {
    Tensor copy = empty(t.rows(), t.cols());
    copy.copyFrom(t);
    return copy;
  }

  /// `forward` fills `out` from its inputs; `gradient` must be the gradient of `Σ out dout` at
  /// `input`.
  private static void check(
      Tensor input, Tensor gradient, Tensor out, Tensor dout, Consumer<Tensor> forward) {
    for (long i = 0; i < input.rows(); i++) {
      for (long j = 0; j < input.cols(); j++) {
        double at = input.get(i, j);
        double up = moved(input, i, j, at + STEP, out, dout, forward);
        double down = moved(input, i, j, at - STEP, out, dout, forward);
        input.set(i, j, at);
        double difference = (up - down) / (2 * STEP);
        double want = gradient.get(i, j);
        assertThat(Math.abs(difference - want))
            .as("element %d, %d: %s by differences, %s", i, j, difference, want)
            .isLessThan(TOLERANCE * (1 + Math.abs(want)));
      }
    }
  }

  private static double moved(
      Tensor input,
      long i,
      long j,
      double value,
      Tensor out,
      Tensor dout,
      Consumer<Tensor> forward) {
    input.set(i, j, value);
    forward.accept(out);
    double sum = 0;
    for (long r = 0; r < out.rows(); r++) {
      for (long c = 0; c < out.cols(); c++) {
        sum += out.get(r, c) * dout.get(r, c);
      }
    }
    return sum;
  }

  @ParameterizedTest
  @ValueSource(booleans = {true, false})
  void norms(boolean weighted) {
    Tensor x = normal(3, 7);
    Tensor w = weighted ? normal(1, 7) : null;
    Tensor dy = normal(3, 7);
    Tensor dx = empty(3, 7);
    REFERENCE.rmsNormBackward(x, w, 0.01f, dy, dx);
    check(x, dx, empty(3, 7), dy, y -> REFERENCE.rmsNorm(x, w, 0.01f, y));
    Tensor inPlace = copy(dy);
    REFERENCE.rmsNormBackward(x, w, 0.01f, inPlace, inPlace);
    assertThat(inPlace.toFloats()).isEqualTo(dx.toFloats());

    REFERENCE.layerNormBackward(x, w, 0.01f, dy, dx);
    check(x, dx, empty(3, 7), dy, y -> REFERENCE.layerNorm(x, w, null, 0.01f, y));
  }

  @ParameterizedTest
  @EnumSource(Activation.class)
  void activations(Activation f) {
    Tensor gate = normal(3, 20);
    for (long i = 0; i < 3; i++) {
      for (long j = 0; j < 20; j++) { // away from the corner of ReLU
        double v = gate.get(i, j);
        gate.set(i, j, Math.copySign(0.1 + (1 + i) * Math.abs(v), v));
      }
    }
    Tensor up = normal(3, 20);
    Tensor dy = normal(3, 20);
    Tensor dgate = empty(3, 20);
    Tensor dup = empty(3, 20);
    REFERENCE.activationBackward(gate, up, f, dy, dgate, dup);
    check(gate, dgate, empty(3, 20), dy, y -> REFERENCE.gatedActivation(gate, up, f, y));
    check(up, dup, empty(3, 20), dy, y -> REFERENCE.gatedActivation(gate, up, f, y));

    REFERENCE.activationBackward(gate, null, f, dy, dgate, null);
    check(
        gate,
        dgate,
        empty(3, 20),
        dy,
        y -> {
          y.copyFrom(gate);
          REFERENCE.activation(y, f);
        });
  }

  @Test
  void attention() {
    List<AttentionShape> shapes =
        List.of(
            AttentionShape.causal(6, 2, 2, 0.5f),
            AttentionShape.causal(1, 2, 1, 0.5f),
            new AttentionShape(2, 5, 5, 5, 4, 2, 0, 0.5f, 0),
            new AttentionShape(1, 7, 7, 7, 3, 1, 3, 0.5f, 0),
            new AttentionShape(2, 5, 5, 5, 2, 1, 4, 0.7f, 1.5f));
    for (AttentionShape s : shapes) {
      long rows = s.batch() * s.queries();
      Tensor q = normal(rows, s.heads() * 4L);
      Tensor k = normal(rows, s.kvHeads() * 4L);
      Tensor v = normal(rows, s.kvHeads() * 3L);
      Tensor dout = normal(rows, s.heads() * 3L);
      Tensor dq = normal(rows, q.cols()); // what was there does not count
      Tensor dk = normal(rows, k.cols());
      Tensor dv = normal(rows, v.cols());
      REFERENCE.attentionBackward(q, k, v, s, dout, dq, dk, dv);
      Tensor out = empty(rows, dout.cols());
      Consumer<Tensor> forward = o -> REFERENCE.attention(q, k, v, s, o);
      check(q, dq, out, dout, forward);
      check(k, dk, out, dout, forward);
      check(v, dv, out, dout, forward);
    }
  }

  @ParameterizedTest
  @ValueSource(floats = {0, 2})
  void sampled(float softcap) {
    int vocabulary = 9;
    Tensor z = normal(4, vocabulary);
    Tensor uniforms = empty(1, 4);
    for (long i = 0; i < 4; i++) {
      uniforms.set(0, i, i == 0 ? 0 : random.nextDouble());
    }
    Tensor gradient = copy(z);
    if (softcap > 0) {
      REFERENCE.scale(1, softcap, gradient);
    }
    double[][] logits = Dequantiser.matrix(gradient);
    Tensor ids = Tensor.allocate(ARENA, DType.I32, 1, 4);
    REFERENCE.sampledGradient(gradient, softcap, uniforms, ids);
    for (int i = 0; i < 4; i++) {
      assertThat(ids.get(0, i)).as("token of row " + i).isEqualTo(drawn(logits[i], uniforms, i));
    }
    Tensor nll = Tensor.allocate(ARENA, DType.F64, 1, 4);
    Tensor ones = Tensor.allocate(ARENA, DType.F64, 1, 4);
    for (long i = 0; i < 4; i++) {
      ones.set(0, i, 1);
    }
    Tensor capped = empty(4, vocabulary);
    check(
        z,
        gradient,
        nll,
        ones,
        out -> {
          capped.copyFrom(z);
          REFERENCE.scale(1, softcap, capped);
          REFERENCE.nll(capped, ids, out, null);
        });
  }

  private static double drawn(double[] logits, Tensor uniforms, int row) {
    double total = 0;
    for (double l : logits) {
      total += Math.exp(l);
    }
    double sum = 0;
    for (int j = 0; j < logits.length; j++) {
      sum += Math.exp(logits[j]) / total;
      if (sum > uniforms.get(0, row)) {
        return j;
      }
    }
    return logits.length - 1.0;
  }

  @Test
  void tokensAreDrawnWithTheirProbabilities() {
    int rows = 4000;
    Tensor logits = empty(rows, 3);
    Tensor uniforms = empty(1, rows);
    for (long i = 0; i < rows; i++) {
      logits.set(i, 0, Math.log(0.2));
      logits.set(i, 1, Math.log(0.5));
      logits.set(i, 2, Math.log(0.3));
      uniforms.set(0, i, random.nextDouble());
    }
    Tensor ids = Tensor.allocate(ARENA, DType.I32, 1, rows);
    REFERENCE.sampledGradient(logits, 0, uniforms, ids);
    int[] counts = new int[3];
    for (int id : ids.toInts()) {
      counts[id]++;
    }
    assertThat(counts[0]).isBetween(700, 900);
    assertThat(counts[1]).isBetween(1880, 2120);
  }
}
