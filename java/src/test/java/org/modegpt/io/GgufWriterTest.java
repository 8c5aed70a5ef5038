package org.modegpt.io;

import static org.assertj.core.api.Assertions.assertThat;

import java.io.IOException;
import java.lang.foreign.Arena;
import java.nio.file.Files;
import java.nio.file.Path;
import java.util.ArrayList;
import java.util.LinkedHashMap;
import java.util.List;
import java.util.Map;
import java.util.SequencedMap;
import org.junit.jupiter.api.Test;
import org.junit.jupiter.api.io.TempDir;
import org.modegpt.TestData;
import org.modegpt.backend.Backend;
import org.modegpt.backend.Backends;
import org.modegpt.tensor.DType;
import org.modegpt.tensor.Tensor;

/// The bytes of a file, quantised tensors included, are those that the Python package gguf writes.
class GgufWriterTest {
  @TempDir private Path folder;

  @Test
  void bytesAreThoseOfTheGgufPackage() throws IOException {
    Path expected = TestData.golden("gguf-package.gguf");
    for (String device : List.of("cpu", "reference")) {
      Path written = folder.resolve(device + ".gguf");
      write(written, device);
      assertThat(Files.mismatch(written, expected)).as(device).isEqualTo(-1);
    }
  }

  private static void write(Path path, String device) {
    SequencedMap<String, Object> metadata = new LinkedHashMap<>();
    metadata.put("general.architecture", "llama");
    metadata.put("general.name", "golden");
    metadata.put("a.uint32", 7);
    metadata.put("a.float32", 0.1f);
    metadata.put("a.bool", true);
    metadata.put("a.uint64", 1L << 40);
    metadata.put("a.strings", List.of("α", "b c", ""));
    metadata.put("a.ints", new int[] {1, -2, 3});
    metadata.put("a.floats", new float[] {0.5f, -1.5f});
    Map<String, DType> types = new LinkedHashMap<>();
    for (DType type : List.of(DType.F32, DType.F16, DType.BF16, DType.Q8_0, DType.Q4_0)) {
      types.put(type.label(), type);
    }
    List<TensorInfo> infos = new ArrayList<>();
    types.forEach((name, type) -> infos.add(TensorInfo.of(name, type, 3, 64)));
    infos.add(TensorInfo.of("vector", DType.F32, 5));
    try (Arena arena = Arena.ofConfined();
        Backend backend = Backends.open(device, 2);
        GgufWriter writer = new GgufWriter(path, metadata, infos)) {
      Tensor x = Tensor.allocate(arena, DType.F32, 3, 64);
      for (int i = 0; i < x.elements(); i++) {
        x.set(i / 64, i % 64, Math.sin(i * 0.37 - 20));
      }
      types.forEach((name, type) -> {
        Tensor y = backend.allocate(arena, type, 3, 64);
        backend.cast(x, y);
        writer.write(name, y);
      });
      writer.write("vector", x.rows(0, 1).columns(0, 5));
      writer.commit();
    }
  }
}
