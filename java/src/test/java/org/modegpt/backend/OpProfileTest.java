package org.modegpt.backend;

import static org.junit.jupiter.api.Assertions.assertEquals;
import static org.junit.jupiter.api.Assertions.assertThrows;
import static org.junit.jupiter.api.Assertions.assertTrue;

import java.io.IOException;
import java.lang.foreign.Arena;
import java.nio.file.Files;
import java.nio.file.Path;
import java.util.List;
import org.junit.jupiter.api.Test;
import org.junit.jupiter.api.io.TempDir;
import org.modegpt.UserException;
import org.modegpt.tensor.DType;
import org.modegpt.tensor.Tensor;

class OpProfileTest {

  @Test
  void tellsTheTimeOfEveryOperationByShape(@TempDir Path folder) throws IOException {
    Path file = folder.resolve("profile.tsv");
    try (Arena arena = Arena.ofConfined();
        Backend backend = OpProfile.into(file, Backends.open("reference", 1))) {
      assertEquals("reference", backend.name());
      Tensor x = Tensor.allocate(arena, DType.F32, 3, 8);
      Tensor w = Tensor.allocate(arena, DType.F32, 5, 8);
      Tensor y = Tensor.allocate(arena, DType.F32, 3, 5);
      backend.linear(x, w, null, y);
      backend.linear(x, w, null, y);
      backend.fillZero(y);
      Backend.Projection projection = new Backend.Projection(w, null, y);
      backend.project(x, List.of(projection, projection));
      assertThrows(IllegalArgumentException.class, () -> backend.linear(w, x, null, y));
    }
    List<String> lines = Files.readAllLines(file);
    assertEquals(5, lines.size(), lines.toString());
    assertTrue(lines.toString().contains("project F32[3,8] F32[5,8]"));
    String[] linear =
        lines.stream().filter(l -> l.contains("linear")).findFirst().orElseThrow().split("\t", -1);
    assertEquals("2", linear[1]);
    assertEquals("linear F32[3,8] F32[5,8]", linear[4]);
    assertTrue(lines.getLast().contains("all operations"));
  }

  @Test
  void projectionsCountAllTheirMatrices() {
    try (Arena arena = Arena.ofConfined()) {
      Tensor x = Tensor.allocate(arena, DType.F32, 3, 8);
      Tensor w = Tensor.allocate(arena, DType.F32, 5, 8);
      Tensor v = Tensor.allocate(arena, DType.F32, 7, 8);
      assertEquals(
          2 * 3 * 8 * (5 + 7), OpProfile.operations("project", new Object[0], List.of(x, w, v)));
    }
  }

  @Test
  void attentionCountsBothItsProductsWithSpansToo() {
    AttentionShape shape = new AttentionShape(2, 1, 10, 16, 4, 2, 0, 1, 0);
    try (Arena arena = Arena.ofConfined()) {
      Tensor q = Tensor.allocate(arena, DType.F32, 2, 4 * 8);
      Tensor k = Tensor.allocate(arena, DType.F32, 32, 2 * 8);
      Tensor v = Tensor.allocate(arena, DType.F32, 32, 2 * 6);
      Tensor spans = Tensor.allocate(arena, DType.I32, 2, 2);
      Tensor out = Tensor.allocate(arena, DType.F32, 2, 4 * 6);
      double expected = 2 * 2 * 10 * (4 * 8 + 4 * 6);
      Object[] all = {q, k, v, shape, null, out};
      assertEquals(expected, OpProfile.operations("attention", all, List.of(q, k, v, out)));
      Object[] spanned = {q, k, v, shape, spans, out};
      assertEquals(
          expected, OpProfile.operations("attention", spanned, List.of(q, k, v, spans, out)));
    }
  }

  @Test
  void theBackEndIsClosedWhereTheTableCannotBeWritten(@TempDir Path folder) {
    Backend inner = Backends.open("cpu", 1);
    Backend profiled = OpProfile.into(folder.resolve("missing").resolve("profile.tsv"), inner);
    UserException e = assertThrows(UserException.class, profiled::close);
    assertTrue(e.getMessage().contains("cannot write the profile"), e.getMessage());
    assertThrows(RuntimeException.class, inner::sync);
  }
}
