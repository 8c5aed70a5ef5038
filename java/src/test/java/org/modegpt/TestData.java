package org.modegpt;

import java.io.IOException;
import java.io.UncheckedIOException;
import java.nio.file.Files;
import java.nio.file.Path;
import java.util.List;
import java.util.stream.Stream;
import org.junit.jupiter.api.Assumptions;

/// Where tests find models and texts: in the repository, or in a shared data folder that need not
/// be there.
public final class TestData {
  private static final Path REPOSITORY =
      Path.of(System.getProperty("modegpt.repository", "..")).toAbsolutePath();

  private TestData() {}

  public static Path demo(String name) {
    return REPOSITORY.resolve("java/demo").resolve(name).normalize();
  }

  /// A file or folder of the shared data (system property `modegpt.data`, else `../shared` beside
  /// the repository); without it the test is skipped and says why.
  public static Path shared(String name) {
    String folder = System.getProperty("modegpt.data", REPOSITORY.resolve("../shared").toString());
    Path path = Path.of(folder).resolve(name).normalize();
    if (!Files.exists(path)) {
      System.out.println(
          "skipped: "
              + path
              + " is not there; -Dmodegpt.data names the folder of test models and texts");
      Assumptions.abort("no " + path);
    }
    return path;
  }

  /// The model a golden file belongs to.
  public static Path model(String name) {
    return switch (name) {
      case "wiki-16m" -> demo("wiki-16m");
      case "smollm2-135m" -> shared("models/smollm2-135m/SmolLM2-135M-Instruct.Q4_1.gguf");
      default -> shared("models/" + name);
    };
  }

  public static Path golden(String file) {
    return REPOSITORY.resolve("java/src/test/resources/golden").resolve(file).normalize();
  }

  /// Names of the tiny random models of the supported families, see `tools/make_families.py`.
  public static List<String> families() {
    try (Stream<Path> folders = Files.list(family(""))) {
      return folders.map(f -> f.getFileName().toString()).sorted().toList();
    } catch (IOException e) {
      throw new UncheckedIOException(e);
    }
  }

  /// The folder of one of them.
  public static Path family(String name) {
    return REPOSITORY.resolve("java/src/test/resources/families").resolve(name).normalize();
  }

  /// A GGUF file that llama.cpp wrote, see `tools/make_gguf.py`.
  public static Path gguf(String name) {
    return REPOSITORY.resolve("java/src/test/resources/gguf").resolve(name).normalize();
  }

  /// The excerpts of published task sets.
  public static Path tasks(String file) {
    return REPOSITORY.resolve("java/src/test/resources/tasks").resolve(file).normalize();
  }
}
