package org.modegpt.backend;

import static org.assertj.core.api.Assertions.assertThat;
import static org.assertj.core.api.Assertions.assertThatThrownBy;
import static org.junit.jupiter.api.DynamicContainer.dynamicContainer;
import static org.junit.jupiter.api.DynamicTest.dynamicTest;
import static org.modegpt.tensor.DType.BF16;
import static org.modegpt.tensor.DType.F32;
import static org.modegpt.tensor.DType.F64;
import static org.modegpt.tensor.DType.I32;
import static org.modegpt.tensor.DType.Q4_K;

import java.lang.foreign.Arena;
import java.lang.foreign.MemorySegment;
import java.util.ArrayList;
import java.util.Arrays;
import java.util.List;
import java.util.concurrent.CountDownLatch;
import java.util.concurrent.atomic.AtomicBoolean;
import java.util.function.Consumer;
import java.util.stream.Stream;
import org.junit.jupiter.api.DynamicContainer;
import org.junit.jupiter.api.DynamicTest;
import org.junit.jupiter.api.Test;
import org.junit.jupiter.api.TestFactory;
import org.modegpt.backend.ops.OpCase;
import org.modegpt.backend.ops.OpCases;
import org.modegpt.backend.ops.OpRunner;
import org.modegpt.tensor.DType;
import org.modegpt.tensor.Tensor;

/// Bad arguments are exceptions, never crashes.
class CheckedBackendTest {

  private static final Arena ARENA = Arena.ofAuto();

  private static Tensor t(DType dtype, long rows, long cols) {
    return Tensor.allocate(ARENA, dtype, rows, cols);
  }

  private static Tensor f(long rows, long cols) {
    return t(F32, rows, cols);
  }

  private static Tensor d(long rows, long cols) {
    return t(F64, rows, cols);
  }

  private record Bad(String what, Consumer<Backend> call) {}

  private static List<Bad> bad() {
    List<Bad> all = new ArrayList<>();
    Tensor x = f(4, 8);
    Tensor ids = Tensor.ofInts(ARENA, 0, 1, 2, 3);
    all.add(new Bad("rows differ", b -> b.rmsNorm(x, null, 1e-5f, f(3, 8))));
    all.add(new Bad("columns differ", b -> b.rmsNorm(x, null, 1e-5f, f(4, 9))));
    all.add(new Bad("dtype", b -> b.rmsNorm(d(4, 8), null, 1e-5f, f(4, 8))));
    all.add(new Bad("weight length", b -> b.rmsNorm(x, f(1, 7), 1e-5f, f(4, 8))));
    all.add(new Bad("weight rows", b -> b.rmsNorm(x, f(2, 8), 1e-5f, f(4, 8))));
    all.add(new Bad("negative eps", b -> b.rmsNorm(x, null, -1, f(4, 8))));
    all.add(new Bad("NaN eps", b -> b.layerNorm(x, null, null, Float.NaN, f(4, 8))));
    all.add(new Bad("bias length", b -> b.layerNorm(x, f(1, 8), f(1, 9), 1e-5f, f(4, 8))));
    all.add(new Bad("null x", b -> b.rmsNorm(null, null, 1e-5f, f(4, 8))));
    all.add(new Bad("null y", b -> b.cast(x, null)));
    all.add(new Bad("cast to integers", b -> b.cast(x, t(I32, 4, 8))));
    all.add(new Bad("cast from integers", b -> b.cast(t(I32, 4, 8), x)));
    all.add(new Bad("cast to blocks", b -> b.cast(f(1, 256), t(Q4_K, 1, 256))));
    all.add(new Bad("cast in place", b -> b.cast(x, x)));
    all.add(new Bad("transpose shape", b -> b.transpose(x, f(4, 8))));
    all.add(new Bad("transpose dtype", b -> b.transpose(t(BF16, 4, 8), t(BF16, 8, 4))));
    all.add(new Bad("copy dtype", b -> b.copy(x, d(4, 8))));
    all.add(new Bad("copy overlap", b -> b.copy(x.rows(0, 3), x.rows(1, 4))));
    all.add(new Bad("id beyond the table", b -> b.embed(f(3, 8), ids, f(4, 8))));
    all.add(new Bad("negative id", b -> b.embed(f(3, 8), Tensor.ofInts(ARENA, -1), f(1, 8))));
    all.add(new Bad("ids of another length", b -> b.embed(f(9, 8), ids, f(3, 8))));
    all.add(new Bad("ids not integers", b -> b.embed(f(9, 8), f(1, 4), f(4, 8))));
    all.add(new Bad("ids as a column", b -> b.embed(f(9, 8), t(I32, 4, 1), f(4, 8))));
    all.add(new Bad("heads do not divide", b -> b.rope(x, ids, f(1, 1), 3)));
    all.add(new Bad("no heads", b -> b.rope(x, ids, f(1, 1), 0)));
    all.add(new Bad("negative heads", b -> b.rope(x, ids, f(1, 1), -2)));
    all.add(new Bad("too many pairs", b -> b.rope(x, ids, f(1, 3), 2)));
    all.add(new Bad("sets do not divide heads", b -> b.rope(x, ids, f(3, 1), 4)));
    all.add(new Bad("no sets", b -> b.rope(x, ids, f(0, 1), 4)));
    all.add(new Bad("positions", b -> b.rope(f(3, 8), ids, f(1, 1), 2)));
    attention(all);
    gradients(all);
    all.add(new Bad("up shape", b -> b.gatedActivation(x, f(4, 7), Activation.SILU, f(4, 8))));
    all.add(new Bad("null activation", b -> b.activation(x, null)));
    all.add(
        new Bad(
            "shifted overlap",
            b -> b.gatedActivation(x.rows(0, 3), f(3, 8), Activation.SILU, x.rows(1, 4))));
    all.add(new Bad("add shape", b -> b.add(1, f(2, 8), f(4, 8))));
    all.add(new Bad("add dtype", b -> b.add(1, d(4, 8), f(4, 8))));
    all.add(new Bad("add to itself", b -> b.add(1, x, x)));
    all.add(new Bad("negative softcap", b -> b.scale(1, -1, f(1, 1))));
    all.add(new Bad("index beyond", b -> b.gatherColumns(x, Tensor.ofInts(ARENA, 8), f(4, 1))));
    all.add(new Bad("index negative", b -> b.gatherColumns(x, Tensor.ofInts(ARENA, -1), f(4, 1))));
    all.add(
        new Bad(
            "index huge",
            b -> b.gatherColumns(x, Tensor.ofInts(ARENA, Integer.MIN_VALUE), f(4, 1))));
    all.add(new Bad("index length", b -> b.gatherColumns(x, ids, f(4, 3))));
    all.add(
        new Bad("target beyond", b -> b.nll(x, Tensor.ofInts(ARENA, 0, 1, 2, 8), d(1, 4), null)));
    all.add(new Bad("nll dtype", b -> b.nll(x, ids, f(1, 4), null)));
    all.add(new Bad("nll length", b -> b.nll(x, ids, d(1, 3), null)));
    all.add(new Bad("argmax dtype", b -> b.nll(x, ids, d(1, 4), f(1, 4))));
    all.add(new Bad("kl shapes", b -> b.klDivergence(x, f(4, 7), d(1, 4))));
    all.add(new Bad("gram not square", b -> b.gram(x, d(8, 7))));
    all.add(new Bad("gram in F32", b -> b.gram(x, f(8, 8))));
    all.add(new Bad("cross gram rows", b -> b.crossGram(x, f(3, 5), d(8, 5))));
    all.add(new Bad("cross gram shape", b -> b.crossGram(x, f(4, 5), d(5, 8))));
    all.add(new Bad("head gram heads", b -> b.headGram(x, 3, d(8, 2))));
    all.add(new Bad("head gram shape", b -> b.headGram(x, 2, d(8, 8))));
    all.add(new Bad("energy", b -> b.columnEnergy(x, d(1, 7))));
    all.add(new Bad("influence", b -> b.blockInfluence(x, f(4, 8), d(1, 2))));
    all.add(new Bad("linear inner", b -> b.linear(x, f(5, 7), null, f(4, 5))));
    all.add(new Bad("linear out", b -> b.linear(x, f(5, 8), null, f(4, 6))));
    all.add(new Bad("linear bias", b -> b.linear(x, f(5, 8), f(1, 4), f(4, 5))));
    all.add(new Bad("linear in F64", b -> b.linear(x, d(5, 8), null, f(4, 5))));
    all.add(
        new Bad(
            "linear over its input", b -> b.linear(f(4, 8), f(8, 8), null, f(4, 8).rows(0, 3))));
    all.add(new Bad("gemm inner", b -> b.gemm(false, false, 1, f(2, 3), f(4, 5), 0, f(2, 5))));
    all.add(new Bad("gemm transposed", b -> b.gemm(true, false, 1, f(2, 3), f(3, 5), 0, f(2, 5))));
    all.add(
        new Bad("gemm mixed dtypes", b -> b.gemm(false, false, 1, f(2, 3), d(3, 5), 0, f(2, 5))));
    all.add(new Bad("gemm in place", b -> b.gemm(false, false, 1, x, f(8, 8), 0, x)));
    all.add(new Bad("cholesky not square", b -> b.cholesky(d(3, 4))));
    all.add(new Bad("cholesky in F32", b -> b.cholesky(f(3, 3))));
    all.add(new Bad("solve left", b -> b.triangularSolve(d(3, 3), true, false, d(4, 3))));
    all.add(new Bad("solve right", b -> b.triangularSolve(d(3, 3), false, false, d(3, 4))));
    all.add(new Bad("inverse not square", b -> b.triangularInverse(d(3, 4))));
    all.add(new Bad("eigenvalues", b -> b.symmetricEigen(d(3, 3), d(1, 4))));
    all.add(new Bad("svd u", b -> b.svd(d(5, 3), d(5, 5), d(1, 3), d(3, 3))));
    all.add(new Bad("svd s", b -> b.svd(d(5, 3), d(5, 3), d(1, 5), d(3, 3))));
    all.add(new Bad("svd vt", b -> b.svd(d(5, 3), d(5, 3), d(1, 3), d(3, 5))));
    all.add(new Bad("pile", b -> b.choleskyBatch(d(7, 3), d(7, 3))));
    all.add(new Bad("inverse", b -> b.choleskyBatch(d(6, 3), d(3, 3))));
    memory(all);
    return all;
  }

  private static void gradients(List<Bad> all) {
    Tensor x = f(4, 8);
    Tensor y = f(4, 8);
    Tensor z = f(4, 8);
    Activation silu = Activation.SILU;
    all.add(new Bad("dy shape", b -> b.rmsNormBackward(x, null, 1e-5f, f(4, 7), z)));
    all.add(new Bad("dx over x", b -> b.rmsNormBackward(x, null, 1e-5f, y, x)));
    all.add(new Bad("negative eps", b -> b.layerNormBackward(x, null, -1, y, z)));
    all.add(new Bad("weight", b -> b.layerNormBackward(x, f(1, 7), 1e-5f, y, z)));
    all.add(new Bad("up, no dup", b -> b.activationBackward(x, f(4, 8), silu, y, z, null)));
    all.add(new Bad("dup, no up", b -> b.activationBackward(x, null, silu, y, z, f(4, 8))));
    all.add(new Bad("dgate over dy", b -> b.activationBackward(x, null, silu, y, y, null)));
    all.add(new Bad("dup is dgate", b -> b.activationBackward(x, f(4, 8), silu, y, z, z)));
    all.add(new Bad("no activation", b -> b.activationBackward(x, null, null, y, z, null)));
    AttentionShape whole = AttentionShape.causal(4, 2, 1, 1);
    AttentionShape cached = new AttentionShape(1, 4, 4, 5, 2, 1, 0, 1, 0);
    Tensor k = f(4, 4);
    all.add(
        new Bad(
            "a cache", b -> b.attentionBackward(x, f(5, 4), f(5, 4), cached, y, z, k, f(4, 4))));
    all.add(new Bad("dq shape", b -> b.attentionBackward(x, k, k, whole, y, f(4, 4), f(4, 4), k)));
    all.add(new Bad("dk over k", b -> b.attentionBackward(x, k, f(4, 4), whole, y, z, k, f(4, 4))));
    Tensor dk = f(4, 4);
    all.add(new Bad("dv is dk", b -> b.attentionBackward(x, k, k, whole, y, z, dk, dk)));
    all.add(new Bad("uniforms", b -> b.sampledGradient(x, 0, f(1, 3), t(I32, 1, 4))));
    all.add(new Bad("ids dtype", b -> b.sampledGradient(x, 0, f(1, 4), f(1, 4))));
    all.add(new Bad("softcap", b -> b.sampledGradient(x, -1, f(1, 4), t(I32, 1, 4))));
  }

  private static void attention(List<Bad> all) {
    Tensor q = f(6, 8);
    Tensor k = f(6, 4);
    AttentionShape good = AttentionShape.causal(6, 2, 1, 1);
    all.add(new Bad("null shape", b -> b.attention(q, k, k, null, f(6, 8))));
    all.add(new Bad("attention out", b -> b.attention(q, k, k, good, f(6, 4))));
    all.add(new Bad("attention k", b -> b.attention(q, f(6, 8), k, good, f(6, 8))));
    all.add(new Bad("attention rows", b -> b.attention(f(5, 8), k, k, good, f(6, 8))));
    all.add(new Bad("attention over q", b -> b.attention(q, k, k, good, q)));
    for (AttentionShape s :
        List.of(
            new AttentionShape(1, 6, 5, 6, 2, 1, 0, 1, 0),
            new AttentionShape(1, 6, 7, 6, 2, 1, 0, 1, 0),
            new AttentionShape(-1, 6, 6, 6, 2, 1, 0, 1, 0),
            new AttentionShape(1, 6, 6, 6, 2, 0, 0, 1, 0),
            new AttentionShape(1, 6, 6, 6, 0, 1, 0, 1, 0),
            new AttentionShape(1, 6, 6, 6, 2, 3, 0, 1, 0),
            new AttentionShape(1, 6, 6, 6, 2, 1, -1, 1, 0),
            new AttentionShape(1, 6, 6, 6, 2, 1, 0, Float.NaN, 0),
            new AttentionShape(1, 6, 6, 6, 2, 1, 0, 1, -1),
            new AttentionShape(1L << 40, 1L << 40, 1L << 41, 1L << 42, 2, 1, 0, 1, 0),
            new AttentionShape(Long.MAX_VALUE, 6, 6, Long.MAX_VALUE, 2, 1, 0, 1, 0))) {
      all.add(new Bad(s.toString(), b -> b.attention(q, k, k, s, f(6, 8))));
    }
    AttentionShape spanned = new AttentionShape(2, 3, 5, 0, 2, 1, 0, 1, 0);
    int[][] bad = {{0, 1, 2, 5}, {0, 2, 5, 5}, {0, 0, 6, 4}, {-1, 0, 4, 4}};
    for (int[] s : bad) { // too few keys, past the last row, more than said, before the first
      Tensor spans = Tensor.ofInts(ARENA, s).reshape(2, 2);
      all.add(new Bad(Arrays.toString(s), b -> b.attention(q, k, k, spanned, spans, f(6, 8))));
    }
    Tensor long3 = Tensor.ofInts(ARENA, 0, 0, 0, 5, 5, 5).reshape(2, 3);
    all.add(new Bad("spans", b -> b.attention(q, k, k, spanned, long3, f(6, 8))));
    Tensor index = Tensor.ofInts(ARENA, 0, 6);
    all.add(new Bad("no such row", b -> b.scatterRows(f(2, 4), index, f(6, 4))));
    all.add(new Bad("scatter width", b -> b.scatterRows(f(2, 5), index, f(7, 4))));
    all.add(new Bad("scatter index", b -> b.scatterRows(f(3, 4), index, f(7, 4))));
  }

  private static void memory(List<Bad> all) {
    Tensor closed = allocateAndClose();
    all.add(new Bad("closed arena", b -> b.activation(closed, Activation.RELU)));
    Tensor[] foreign = new Tensor[1];
    Thread other = new Thread(() -> foreign[0] = confined());
    other.start();
    join(other);
    all.add(new Bad("arena of another thread", b -> b.activation(foreign[0], Activation.RELU)));
    Tensor readOnly = new Tensor(F32, 4, 8, 8, f(4, 8).data().asReadOnly(), false);
    all.add(new Bad("read-only output", b -> b.activation(readOnly, Activation.RELU)));
    Tensor device = new Tensor(F32, 4, 8, 8, MemorySegment.ofAddress(0x1000), true);
    all.add(new Bad("device memory", b -> b.activation(device, Activation.RELU)));
    all.add(new Bad("copy from a device", b -> b.copy(device, f(4, 8))));
    all.add(new Bad("negative rows", b -> b.allocate(ARENA, F32, -1, 2)));
  }

  @SuppressWarnings("MustBeClosedChecker") // ends with its thread's test
  private static Tensor confined() {
    return Tensor.allocate(Arena.ofConfined(), F32, 4, 8);
  }

  private static Tensor allocateAndClose() {
    try (Arena gone = Arena.ofConfined()) {
      return Tensor.allocate(gone, F32, 4, 8);
    }
  }

  private static void join(Thread t) {
    try {
      t.join();
    } catch (InterruptedException e) {
      throw new AssertionError(e);
    }
  }

  @TestFactory
  Stream<DynamicContainer> refuses() {
    return Stream.of("cpu", "reference")
        .map(device -> {
          Backend b = Backends.open(device, 1);
          Stream<DynamicTest> tests =
              bad().stream()
                  .map(c ->
                      dynamicTest(
                          c.what(),
                          () ->
                              assertThatThrownBy(() -> c.call().accept(b))
                                  .isInstanceOf(IllegalArgumentException.class)
                                  .hasMessageMatching("(?s)[a-zA-Z]+: .+")));
          return dynamicContainer(device, tests);
        });
  }

  @Test
  void columnViewsOfOneMatrixDoNotOverlap() {
    Tensor qkv = f(5, 24);
    try (Backend b = Backends.open("cpu", 1)) {
      b.rmsNorm(qkv.columns(0, 8), null, 1e-5f, qkv.columns(8, 16));
      b.rmsNorm(qkv.columns(16, 24), null, 1e-5f, qkv.columns(0, 8));
      assertThatThrownBy(() -> b.rmsNorm(qkv.columns(0, 8), null, 1e-5f, qkv.columns(7, 15)))
          .hasMessageContaining("overlaps");
    }
  }

  @Test
  void afterCloseEveryOperationIsRefused() {
    Backend b = Backends.open("cpu", 1);
    OpRunner runner = new OpRunner(b, b);
    b.close();
    b.close();
    assertThat(b.describe()).isNotEmpty();
    try (Arena arena = Arena.ofConfined()) {
      for (OpCase c : OpCases.all()) {
        assertThatThrownBy(() -> runner.compute(c, OpRunner.allocate(c, arena)))
            .as(c.toString())
            .isInstanceOf(IllegalStateException.class)
            .hasMessageContaining("closed");
      }
    }
  }

  @Test
  void useByTwoThreadsAtOnceIsRefused() throws InterruptedException {
    CountDownLatch inside = new CountDownLatch(1);
    CountDownLatch release = new CountDownLatch(1);
    Backend slow =
        new CheckedBackend(
            new ReferenceBackend() {
              @Override
              public void sync() {
                inside.countDown();
                try {
                  release.await();
                } catch (InterruptedException e) {
                  throw new AssertionError(e);
                }
              }
            });
    AtomicBoolean done = new AtomicBoolean();
    Thread user =
        new Thread(
            () -> {
              slow.sync();
              done.set(true);
            },
            "first user");
    user.start();
    inside.await();
    assertThatThrownBy(slow::sync)
        .isInstanceOf(IllegalStateException.class)
        .hasMessageContaining("first user");
    assertThatThrownBy(slow::close).isInstanceOf(IllegalStateException.class);
    release.countDown();
    user.join();
    assertThat(done).isTrue();
    slow.close();
  }
}
