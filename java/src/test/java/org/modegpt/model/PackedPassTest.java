package org.modegpt.model;

import static org.assertj.core.api.Assertions.assertThat;
import static org.assertj.core.api.Assertions.within;

import java.lang.foreign.Arena;
import java.nio.file.Path;
import java.util.ArrayList;
import java.util.Arrays;
import java.util.List;
import java.util.Random;
import org.junit.jupiter.api.Test;
import org.junit.jupiter.api.io.TempDir;
import org.junit.jupiter.params.ParameterizedTest;
import org.junit.jupiter.params.provider.ValueSource;
import org.modegpt.TinyModel;
import org.modegpt.backend.Backend;
import org.modegpt.backend.Backends;
import org.modegpt.tensor.Tensor;

/// Packed sequences against each sequence on its own.
class PackedPassTest {
  @TempDir private Path folder;

  private static Packing.Sequence sequence(int scoredFrom, int... tokens) {
    return new Packing.Sequence(tokens, scoredFrom);
  }

  @Test
  void sharedBeginningsAreOneRow() {
    Packing packing =
        Packing.of(
            List.of(
                sequence(1, 5, 6), sequence(1, 5, 6), sequence(1, 5, 6, 7, 8), sequence(0, 5, 9)),
            3);
    assertThat(packing.tokens()).containsExactly(5, 6, 7, 8, 9);
    assertThat(packing.positions()).containsExactly(0, 1, 2, 3, 1);
    assertThat(packing.scored()[0]).containsExactly(1);
    assertThat(packing.scored()[1]).containsExactly(1);
    assertThat(packing.scored()[2]).containsExactly(1, 2, 3);
    assertThat(packing.scored()[3]).containsExactly(0, 4);
    assertThat(packing.longest()).isEqualTo(4);
    assertThat(packing.chunks())
        .containsExactly(
            new Packing.Chunk(0, 3, List.of(new Packing.Span(0, 0, 2), new Packing.Span(2, 2, 1))),
            new Packing.Chunk(3, 5, List.of(new Packing.Span(0, 3, 1), new Packing.Span(1, 1, 1))));
  }

  @ParameterizedTest
  @ValueSource(longs = {0, 100_000, 1 << 30})
  void equalsSequencesOnTheirOwn(long gatheredBytes) {
    List<Packing.Sequence> sequences = new ArrayList<>();
    Random random = new Random(3);
    int[] stem = random.ints(20, 0, 8000).toArray();
    for (int i = 0; i < 12; i++) {
      int[] ids = Arrays.copyOf(stem, 4 + random.nextInt(30));
      for (int t = Math.min(3 + random.nextInt(18), ids.length - 1); t < ids.length; t++) {
        ids[t] = random.nextInt(8000);
      }
      sequences.add(sequence(random.nextInt(ids.length), ids));
    }
    check(gatheredBytes, sequences, 32, 1);
  }

  /// One span that is a call of its own, then more keys than are put together at once.
  @ParameterizedTest
  @ValueSource(longs = {0, 100_000, 1 << 30})
  void manyLongSequencesOfOneBeginning(long gatheredBytes) {
    List<Packing.Sequence> sequences = new ArrayList<>();
    Random random = new Random(4);
    int[] stem = random.ints(301, 0, 8000).toArray();
    for (int i = 0; i < 260; i++) {
      int[] ids = stem.clone();
      ids[ids.length - 1] = i;
      sequences.add(sequence(ids.length - 1, ids));
    }
    check(gatheredBytes, sequences, 512, 40);
  }

  /// @param step of the sequences that are computed on their own
  private void check(
      long gatheredBytes, List<Packing.Sequence> sequences, int chunkRows, int step) {
    sequences.sort(Packing::compare);
    try (Transformer model = Transformer.open(new TinyModel().write(folder.resolve("tiny")));
        Backend backend = Backends.open("cpu", 2);
        PackedPass packed =
            new PackedPass(backend, model, Packing.of(sequences, chunkRows), gatheredBytes);
        Arena arena = Arena.ofConfined()) {
      packed.run(_ -> {});
      Packing packing = Packing.of(sequences, chunkRows);
      for (int s = 0; s < sequences.size(); s += step) {
        int[] ids = sequences.get(s).tokens();
        Tensor rows = packed.gather(packing.scored()[s], arena);
        try (StreamingPass alone = new StreamingPass(backend, model, 1, ids.length)) {
          alone.embed(List.of(ids));
          alone.block(0, StreamingPass.LayerTap.NONE);
          alone.block(1, StreamingPass.LayerTap.NONE);
          for (int r = 0; r < rows.rows(); r++) {
            for (int c = 0; c < TinyModel.HIDDEN; c++) {
              assertThat(rows.get(r, c))
                  .as("sequence %d position %d", s, sequences.get(s).scoredFrom() + r)
                  .isCloseTo(
                      alone.stream().get(sequences.get(s).scoredFrom() + r, c), within(1e-5));
            }
          }
        }
      }
    }
  }
}
