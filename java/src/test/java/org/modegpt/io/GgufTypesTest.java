package org.modegpt.io;

import static org.assertj.core.api.Assertions.assertThat;

import java.lang.foreign.Arena;
import org.junit.jupiter.params.ParameterizedTest;
import org.junit.jupiter.params.provider.ValueSource;
import org.modegpt.TestData;
import org.modegpt.backend.Backend;
import org.modegpt.backend.Backends;
import org.modegpt.tensor.DType;
import org.modegpt.tensor.Tensor;

/// Random blocks of every quantised type, against what the Python package gguf makes of them.
class GgufTypesTest {

  @ParameterizedTest
  @ValueSource(strings = {"cpu", "reference"})
  void valuesAreThoseOfTheGgufPackage(String device) {
    try (GgufFile file = GgufFile.open(TestData.golden("gguf-types.gguf"));
        Backend backend = Backends.open(device, 2);
        Arena arena = Arena.ofShared()) {
      assertThat(file.tensors()).hasSize(24);
      file.tensors()
          .forEach((name, entry) -> {
            if (name.endsWith(".values")) {
              return;
            }
            Tensor stored;
            double tolerance = 1e-6;
            if (entry.type().dtype() != null) {
              stored = file.view(entry);
            } else {
              stored = Tensor.allocate(arena, DType.F16, 2, 256);
              GgufBlocks.decode(entry.type(), file.stored(entry), stored.data());
              tolerance = 1.0 / 2048; // half a unit in the last place of float16
            }
            Tensor values = Tensor.allocate(arena, DType.F32, 2, 256);
            backend.cast(stored, values);
            backend.sync();
            float[] found = values.toFloats();
            float[] expected = file.view(file.tensors().get(name + ".values")).toFloats();
            for (int i = 0; i < expected.length; i++) {
              assertThat(Math.abs(found[i] - expected[i]))
                  .as("%s, value %d", name, i)
                  .isLessThanOrEqualTo((float) (tolerance * Math.abs(expected[i]) + 3e-7));
            }
          });
    }
  }
}
