package org.modegpt.io;

import static java.lang.foreign.ValueLayout.JAVA_BYTE;
import static org.assertj.core.api.Assertions.assertThat;
import static org.assertj.core.api.Assertions.assertThatThrownBy;
import static org.junit.jupiter.api.Assumptions.assumeTrue;

import java.io.IOException;
import java.lang.foreign.Arena;
import java.lang.foreign.MemorySegment;
import java.nio.file.Files;
import java.nio.file.Path;
import java.util.Random;
import org.junit.jupiter.api.Test;
import org.junit.jupiter.api.io.TempDir;
import org.modegpt.UserException;

class AtomicFileTest {
  @TempDir private Path folder;

  /// Two pieces of some parts each and a rest, the second first.
  private static void writes(Path folder) throws IOException {
    byte[] content = new byte[(13 << 20) + 5];
    new Random(1).nextBytes(content);
    int middle = (5 << 20) + 3;
    Path path = folder.resolve("file");
    try (Arena arena = Arena.ofShared();
        AtomicFile file = new AtomicFile(path, content.length)) {
      MemorySegment bytes = arena.allocate(content.length);
      bytes.copyFrom(MemorySegment.ofArray(content));
      file.write(middle, bytes.asSlice(middle));
      file.write(0, bytes.asSlice(0, middle));
      assertThat(path).doesNotExist();
      file.commit();
    }
    assertThat(Files.readAllBytes(path)).isEqualTo(content);
  }

  @Test
  void piecesComeInAnyOrder() throws IOException {
    writes(folder);
  }

  @Test
  void piecesComeInAnyOrderInMemory() throws IOException {
    Path memory = Path.of("/dev/shm");
    assumeTrue(
        Files.isWritable(memory) && Files.getFileStore(memory).type().equals("tmpfs"),
        "there is no file system in memory");
    Path here = Files.createTempDirectory(memory, "modegpt");
    try {
      writes(here);
    } finally {
      Files.deleteIfExists(here.resolve("file"));
      Files.delete(here);
    }
  }

  @Test
  void confinedMemoryIsWritten() throws IOException {
    Path path = folder.resolve("file");
    try (Arena arena = Arena.ofConfined();
        AtomicFile file = new AtomicFile(path, 9 << 20)) {
      MemorySegment bytes = arena.allocate(9 << 20);
      bytes.set(JAVA_BYTE, (9 << 20) - 1, (byte) 7);
      file.write(0, bytes);
      file.commit();
    }
    assertThat(Files.readAllBytes(path)).hasSize(9 << 20).endsWith((byte) 7);
  }

  @Test
  void whatWasWrittenIsGoneOnWith() throws IOException {
    Path path = folder.resolve("file");
    Path temporary = folder.resolve("begun");
    try (Arena arena = Arena.ofConfined()) {
      MemorySegment one = arena.allocate(1).fill((byte) 1);
      try (AtomicFile file = AtomicFile.goOn(path, temporary, 3, 3)) {
        file.write(1, one);
      }
      assertThat(path).doesNotExist();
      try (AtomicFile file = AtomicFile.goOn(path, temporary, 3, 2)) {
        file.write(0, one);
        file.commit();
      }
    }
    assertThat(Files.readAllBytes(path)).containsExactly(1, 1, 0);
    assertThat(temporary).doesNotExist();
  }

  @Test
  void whatDoesNotFitIsRefused() {
    Path path = folder.resolve("file");
    assertThatThrownBy(() -> new AtomicFile(path, Long.MAX_VALUE))
        .isInstanceOf(UserException.class)
        .hasMessageContaining("free some space");
    assertThat(folder).isEmptyDirectory();
  }
}
