package org.modegpt.cli;

import java.nio.file.Files;
import java.nio.file.Path;
import java.util.List;
import org.modegpt.UserException;

/// The demonstration model and texts that come with the program; the launcher says where.
final class Demo {
  private Demo() {}

  static Path model() {
    return existing("wiki-16m", "name a model");
  }

  static boolean is(Path model) {
    Path demo = Path.of(System.getProperty("modegpt.demo", ""), "wiki-16m");
    return model.toAbsolutePath().normalize().equals(demo.toAbsolutePath().normalize());
  }

  static Path calibrationText() {
    return existing("text/wikipedia.calibration.txt", "give a text with --calibration");
  }

  static Path evaluationText() {
    return existing("text/wikitext2.test.txt", "give a text with --file");
  }

  /// The folder of the demonstration texts, where there is one: data of built-in tasks.
  static List<Path> textFolders() {
    Path folder = Path.of(System.getProperty("modegpt.demo", ""), "text");
    return Files.isDirectory(folder) ? List.of(folder) : List.of();
  }

  private static Path existing(String name, String advice) {
    String folder = System.getProperty("modegpt.demo", "");
    Path path = Path.of(folder, name);
    if (folder.isEmpty() || !Files.exists(path)) {
      throw new UserException(
          "this installation has no demonstration files (" + name + "); " + advice);
    }
    return path;
  }
}
