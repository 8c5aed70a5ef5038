package org.modegpt.calibrate;

import static org.assertj.core.api.Assertions.assertThat;
import static org.assertj.core.api.Assertions.assertThatThrownBy;

import java.io.IOException;
import java.lang.foreign.Arena;
import java.lang.reflect.Proxy;
import java.nio.file.Files;
import java.nio.file.Path;
import java.util.Arrays;
import java.util.List;
import java.util.Map;
import java.util.concurrent.CancellationException;
import java.util.stream.IntStream;
import org.jspecify.annotations.Nullable;
import org.junit.jupiter.api.Test;
import org.junit.jupiter.api.io.TempDir;
import org.junit.jupiter.params.ParameterizedTest;
import org.junit.jupiter.params.provider.ValueSource;
import org.modegpt.Progress;
import org.modegpt.TestData;
import org.modegpt.UserException;
import org.modegpt.backend.Backend;
import org.modegpt.backend.Backends;
import org.modegpt.io.SafetensorsFile;
import org.modegpt.model.Ahead;
import org.modegpt.model.Transformer;
import org.modegpt.tensor.DType;
import org.modegpt.tensor.Tensor;

class CalibratorTest {
  @TempDir private Path folder;

  private static List<int[]> sequences(SafetensorsFile golden, Arena arena) {
    Tensor ids = golden.get("ids", arena);
    int[] all = ids.toInts();
    int length = (int) ids.cols();
    return List.of(Arrays.copyOf(all, length), Arrays.copyOfRange(all, length, 2 * length));
  }

  private static Path calibrate(List<int[]> sequences, Path file, Progress progress) {
    return calibrate(TestData.model("stories260K"), sequences, file, progress);
  }

  private static Path calibrate(Path path, List<int[]> sequences, Path file, Progress progress) {
    try (Transformer model = Transformer.open(path);
        Backend backend = Backends.open("cpu", 2)) {
      new Calibrator(model, backend)
          .run(new CalibrationData(sequences, "hash", "test", 0), file, progress);
    }
    return file;
  }

  @Test
  void statisticsAreThoseOfTheReference() {
    try (SafetensorsFile golden =
            SafetensorsFile.open(TestData.golden("stories260K-statistics.safetensors"));
        Arena arena = Arena.ofShared();
        Statistics statistics =
            Statistics.open(
                calibrate(sequences(golden, arena), folder.resolve("s"), Progress.SILENT))) {
      Tensor influence = golden.get("influence", arena);
      for (int layer = 0; layer < statistics.layers(); layer++) {
        LayerStatistics sums = statistics.layer(layer, arena);
        String prefix = "layers." + layer + ".";
        assertThat(lowerError(golden.get(prefix + "input_gram", arena), sums.attentionInput()))
            .isLessThan(2e-6);
        assertThat(lowerError(golden.get(prefix + "mlp_gram", arena), sums.mlpInner()))
            .isLessThan(2e-6);
        assertThat(error(golden.get(prefix + "q_energy", arena), sums.queryEnergy()))
            .isLessThan(2e-6);
        assertThat(error(golden.get(prefix + "k_energy", arena), sums.keyEnergy()))
            .isLessThan(2e-6);
        assertThat(Math.abs(statistics.blockInfluence()[layer] - influence.get(0, layer)))
            .isLessThan(1e-6);
        assertThat(sums.tokens()).isEqualTo(256);
      }
    }
  }

  /// Largest difference relative to the geometric mean of the diagonal entries, which bounds an
  /// entry of a Gram matrix.
  private static double lowerError(Tensor packed, Tensor square) {
    double worst = 0;
    long at = 0;
    for (long i = 0; i < square.rows(); i++) {
      for (long j = 0; j <= i; j++) {
        double scale = Math.sqrt(square.get(i, i) * square.get(j, j)) + 1e-30;
        worst = Math.max(worst, Math.abs(packed.get(0, at++) - square.get(i, j)) / scale);
      }
    }
    return worst;
  }

  private static double error(Tensor expected, Tensor actual) {
    double worst = 0;
    for (long i = 0; i < expected.cols(); i++) {
      worst = Math.max(worst, Math.abs(expected.get(0, i) - actual.get(0, i)) / expected.get(0, i));
    }
    return worst;
  }

  @Test
  void partsAddUp() {
    try (SafetensorsFile golden =
            SafetensorsFile.open(TestData.golden("stories260K-statistics.safetensors"));
        Arena arena = Arena.ofShared()) {
      List<int[]> both = sequences(golden, arena);
      Path a = calibrate(both.subList(0, 1), folder.resolve("a"), Progress.SILENT);
      Path b = calibrate(both.subList(1, 2), folder.resolve("b"), Progress.SILENT);
      Statistics.merge(List.of(a, b), folder.resolve("sum"));
      try (Statistics sum = Statistics.open(folder.resolve("sum"));
          Statistics whole =
              Statistics.open(calibrate(both, folder.resolve("whole"), Progress.SILENT))) {
        for (int layer = 0; layer < whole.layers(); layer++) {
          LayerStatistics expected = whole.layer(layer, arena);
          LayerStatistics actual = sum.layer(layer, arena);
          assertThat(actual.outputGradient()).isNotNull(); // drawn at random, so that parts differ
          assertThat(actual.gradientTokens().get(0, 0)).isEqualTo(256);
          for (String name : expected.named().keySet()) {
            if (name.equals(LayerStatistics.OUTPUT_GRADIENT)) {
              continue;
            }
            Tensor x = expected.named().get(name);
            Tensor y = actual.named().get(name);
            assertThat(largest(x, y)).as(name).isLessThan(1e-6 * largest(x, null));
          }
        }
      }
    }
  }

  /// Largest absolute difference, or value when there is nothing to compare with; only what both
  /// triangles of a Gram matrix hold.
  private static double largest(Tensor x, @Nullable Tensor y) {
    double worst = 0;
    for (long i = 0; i < x.rows(); i++) {
      for (long j = 0; j < x.cols(); j++) {
        worst = Math.max(worst, Math.abs(x.get(i, j) - (y == null ? 0 : y.get(i, j))));
      }
    }
    return worst;
  }

  /// Leaves what a run that was stopped leaves.
  private static void stopHalfWay(List<int[]> sequences, Path file) {
    TestData.model("stories260K"); // where it is missing, the test is skipped and not wrong
    Progress stop =
        (phase, done, total, unit) -> {
          if (phase.equals("calibrate") && done >= total / 2) {
            Thread.currentThread().interrupt();
          }
        };
    assertThatThrownBy(() -> calibrate(sequences, file, stop))
        .isInstanceOf(CancellationException.class);
    assertThat(Thread.interrupted()).isTrue();
    Path partial = file.resolveSibling(file.getFileName() + ".partial");
    assertThat(partial.resolve("layer-0000")).exists();
  }

  @Test
  void anInterruptedRunGoesOnAndGivesTheSameBytes() throws IOException {
    try (SafetensorsFile golden =
            SafetensorsFile.open(TestData.golden("stories260K-statistics.safetensors"));
        Arena arena = Arena.ofShared()) {
      List<int[]> ids = sequences(golden, arena);
      Path whole = calibrate(ids, folder.resolve("whole"), Progress.SILENT);
      Path stopped = folder.resolve("stopped");
      stopHalfWay(ids, stopped);
      assertThat(stopped).doesNotExist();
      calibrate(ids, stopped, Progress.SILENT);
      assertThat(Files.mismatch(whole, stopped)).isEqualTo(-1);
      assertThat(folder.resolve("stopped.partial")).doesNotExist();
    }
  }

  @Test
  void whatWasBegunOnAnotherTextIsThrownAway() throws IOException {
    List<int[]> text = List.of(IntStream.range(0, 64).toArray());
    List<int[]> other = List.of(IntStream.range(0, 48).toArray());
    Path file = folder.resolve("s");
    stopHalfWay(other, file);
    calibrate(text, file, Progress.SILENT);
    assertThat(Files.mismatch(file, calibrate(text, folder.resolve("fresh"), Progress.SILENT)))
        .isEqualTo(-1);
  }

  /// The CPU's back-end as if its memory were a device's own.
  private static Backend device(Backend cpu, long free) {
    return (Backend)
        Proxy.newProxyInstance(
            Backend.class.getClassLoader(),
            new Class<?>[] {Backend.class},
            (_, method, args) ->
                switch (method.getName()) {
                  case "unifiedMemory" -> false;
                  case "freeMemory" -> free;
                  default -> method.invoke(cpu, args);
                });
  }

  private @Nullable Statistics resident(Transformer model, Backend backend, List<int[]> ids) {
    return new Calibrator(model, backend)
        .resident(
            new CalibrationData(ids, "hash", "test", 0), folder.resolve("none"), Progress.SILENT);
  }

  /// On a device, whether they stayed there or are uploaded from the file.
  @Test
  void residentStatisticsAreThoseOfTheFile() {
    List<int[]> ids = List.of(IntStream.range(0, 100).toArray());
    Path path = calibrate(ids, folder.resolve("file"), Progress.SILENT);
    try (Transformer model = Transformer.open(TestData.model("stories260K"));
        Backend cpu = Backends.open("cpu", 2);
        Statistics file = Statistics.open(path)) {
      Backend device = device(cpu, Long.MAX_VALUE);
      try (Statistics resident = resident(model, device, ids);
          Ahead<LayerStatistics> uploaded = file.ahead(device)) {
        assertThat(resident).isNotNull();
        assertThat(resident.blockInfluence()).isEqualTo(file.blockInfluence());
        for (int layer = 0; layer < file.layers(); layer++) {
          try (Arena arena = Arena.ofShared();
              Ahead<LayerStatistics>.Loaded loaded = uploaded.get(layer)) {
            LayerStatistics expected = file.layer(layer, arena);
            assertSame(expected, resident.layer(layer, arena));
            assertSame(expected, loaded.value());
          }
        }
      }
    }
  }

  private static void assertSame(LayerStatistics expected, LayerStatistics actual) {
    Map<String, Tensor> sums = expected.named();
    assertThat(actual.named().keySet()).isEqualTo(sums.keySet());
    for (String name : sums.keySet()) {
      assertThat(actual.named().get(name).asBytes().mismatch(sums.get(name).asBytes()))
          .as(name)
          .isEqualTo(-1);
    }
  }

  /// The bound is met by memory that is there, and one byte less is too little.
  @Test
  void statisticsThatDoNotFitAreNotResident() {
    List<int[]> ids = List.of(IntStream.range(0, 16).toArray());
    try (Transformer model = Transformer.open(TestData.model("stories260K"));
        Backend cpu = Backends.open("cpu", 2)) {
      long needed =
          new Calibrator(model, device(cpu, 0))
              .residentBytes(new CalibrationData(ids, "hash", "test", 0));
      assertThat(resident(model, device(cpu, needed - 1), ids)).isNull();
      try (Statistics there = resident(model, device(cpu, needed), ids)) {
        assertThat(there).isNotNull();
      }
    }
  }

  @ParameterizedTest
  @ValueSource(longs = {1, 5, 16, 33, 172})
  void bandsGiveTheTriangleBack(long size) {
    try (Backend backend = Backends.open("reference", 1);
        Arena arena = Arena.ofShared()) {
      Tensor square = Tensor.allocate(arena, DType.F64, size, size);
      for (long i = 0; i < size; i++) {
        for (long j = 0; j <= i; j++) {
          square.set(i, j, 1.0 + i * size + j);
        }
      }
      TriangleBands bands = TriangleBands.of(backend, arena, square);
      Tensor back = bands.square(backend, arena);
      assertThat(back.asBytes().mismatch(square.asBytes())).isEqualTo(-1);
      assertThat(bands.bands().stream().mapToLong(Tensor::bytes).sum())
          .isEqualTo(TriangleBands.bytes(size));
    }
  }

  @Test
  void bandsTakeLittleMoreThanHalf() {
    assertThat(TriangleBands.bytes(14336)).isEqualTo(14336L * 14336 * 8 * 17 / 32);
  }

  @Test
  void statisticsOfAnotherModelAreRefused() {
    Path file = calibrate(List.of(new int[64]), folder.resolve("s"), Progress.SILENT);
    try (Transformer other = Transformer.open(TestData.demo("wiki-16m"));
        Statistics statistics = Statistics.open(file)) {
      assertThatThrownBy(() -> statistics.requireModel(other))
          .isInstanceOf(UserException.class)
          .hasMessageContaining("another model");
    }
  }

  @Test
  void sequencesBeyondTheContextAreRefused() {
    assertThat(TestData.model("stories260K")).exists(); // or the test is skipped, with the reason
    assertThatThrownBy(
            () -> calibrate(List.of(new int[4096]), folder.resolve("s"), Progress.SILENT))
        .isInstanceOf(UserException.class)
        .hasMessageContaining("context");
    assertThat(folder).isEmptyDirectory();
  }
}
