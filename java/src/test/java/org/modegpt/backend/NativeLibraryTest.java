package org.modegpt.backend;

import static org.assertj.core.api.Assertions.assertThat;
import static org.assertj.core.api.Assertions.assertThatThrownBy;

import java.io.IOException;
import java.nio.file.Files;
import java.nio.file.Path;
import java.util.Collections;
import java.util.List;
import java.util.Set;
import java.util.concurrent.Callable;
import java.util.concurrent.ExecutorService;
import java.util.concurrent.Executors;
import java.util.concurrent.Future;
import java.util.stream.Collectors;
import java.util.stream.Stream;
import org.junit.jupiter.api.AfterEach;
import org.junit.jupiter.api.Test;
import org.junit.jupiter.api.io.TempDir;

class NativeLibraryTest {

  @TempDir Path folder;

  @AfterEach
  void clear() {
    System.clearProperty("modegpt.library.path");
    System.clearProperty("modegpt.cache");
  }

  private static Path extract() {
    return NativeLibrary.extract(
        "gcc", "org/bytedeco/openblas/" + NativeLibrary.platform() + "/", List.of("libgcc_s.so.1"));
  }

  @Test
  void concurrentExtractionsYieldOneCompleteFile() throws Exception {
    System.setProperty("modegpt.cache", folder.toString());
    try (ExecutorService pool = Executors.newFixedThreadPool(8)) {
      Callable<Long> job = () -> Files.size(extract().resolve("libgcc_s.so.1"));
      Set<Long> sizes =
          pool.invokeAll(Collections.nCopies(16, job)).stream()
              .map(Future::resultNow)
              .collect(Collectors.toSet());
      assertThat(sizes).hasSize(1).doesNotContain(0L);
    }
    try (Stream<Path> files = Files.walk(folder)) {
      assertThat(files.filter(Files::isRegularFile)).hasSize(1);
    }
  }

  @Test
  void anUnwritableCacheSaysWhatToDo() throws IOException {
    Path file = Files.createFile(folder.resolve("file"));
    System.setProperty("modegpt.cache", file.toString());
    assertThatThrownBy(NativeLibraryTest::extract)
        .isInstanceOf(BackendException.class)
        .hasMessageContaining("MODEGPT_CACHE");
  }

  @Test
  void everyRefusalIsKept() throws IOException {
    Path broken = folder.resolve(System.mapLibraryName("modegpt_test"));
    Files.writeString(broken, "not a library");
    System.setProperty("modegpt.library.path", folder.toString());
    assertThatThrownBy(() -> NativeLibrary.open("modegpt_test", Kernels::open))
        .isInstanceOf(BackendException.class)
        .hasMessageContaining(broken.toString())
        .hasMessageMatching(".*(invalid ELF header|file too short).*")
        .hasMessageContaining("is not among the jars");
    Files.delete(broken);
    assertThatThrownBy(() -> NativeLibrary.open("modegpt_test", Kernels::open))
        .hasMessageContaining("no " + broken)
        .hasMessageContaining("MODEGPT_LIBRARY_PATH");
  }

  @Test
  void aLibraryThatIsNotOursIsRefused() throws IOException {
    Path foreign = folder.resolve(System.mapLibraryName("modegpt_test"));
    System.setProperty("modegpt.cache", folder.toString());
    Files.copy(extract().resolve("libgcc_s.so.1"), foreign);
    System.setProperty("modegpt.library.path", folder.toString());
    assertThatThrownBy(() -> NativeLibrary.open("modegpt_test", Kernels::open))
        .hasMessageContaining("mg_abi_version");
  }

  @Test
  void theFolderOfTheSettingComesFirst() throws IOException {
    Path mine = folder.resolve(System.mapLibraryName("modegpt_cpu"));
    Files.createFile(mine);
    System.setProperty("modegpt.library.path", folder.toString());
    assertThat(NativeLibrary.<Path>open("modegpt_cpu", path -> path)).isEqualTo(mine);
  }
}
