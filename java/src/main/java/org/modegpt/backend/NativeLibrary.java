package org.modegpt.backend;

import java.io.IOException;
import java.io.InputStream;
import java.io.OutputStream;
import java.io.UncheckedIOException;
import java.net.JarURLConnection;
import java.net.URL;
import java.net.URLConnection;
import java.nio.file.Files;
import java.nio.file.Path;
import java.nio.file.StandardCopyOption;
import java.util.ArrayList;
import java.util.List;
import java.util.Locale;
import java.util.function.Function;
import java.util.zip.CRC32;
import java.util.zip.CheckedInputStream;
import org.modegpt.Settings;

/// Finds native libraries: first in the folder of the setting `library.path`, then among the
/// resources of the engine's jars, from where they are extracted into the user's cache folder
/// (setting `cache`, else `$XDG_CACHE_HOME/modegpt`, else `~/.cache/modegpt`). Extraction is safe
/// with several processes: a file appears complete or not at all, in a folder named after its
/// content.
final class NativeLibrary {

  private NativeLibrary() {}

  /// `linux-x86_64`: how CMake stages libraries and how jars name their native parts.
  static String platform() {
    String os = System.getProperty("os.name").toLowerCase(Locale.ROOT);
    String arch = System.getProperty("os.arch").toLowerCase(Locale.ROOT);
    String system = os.startsWith("mac") ? "darwin" : os.startsWith("windows") ? "windows" : os;
    return system + "-" + (arch.equals("amd64") ? "x86_64" : arch);
  }

  /// Opens the library `name` (without `lib` and `.so`) from the first place that works.
  ///
  /// @throws BackendException with the reason of every place that does not
  static <T> T open(String name, Function<Path, T> opener) {
    String file = System.mapLibraryName(name);
    List<String> reasons = new ArrayList<>();
    String folder = Settings.get("library.path");
    if (folder != null) {
      Path path = Path.of(folder, file);
      if (Files.isRegularFile(path)) {
        try {
          return opener.apply(path);
        } catch (BackendException e) {
          reasons.add(path + ": " + e.getMessage());
        }
      } else {
        reasons.add("no " + path + " (MODEGPT_LIBRARY_PATH)");
      }
    }
    try {
      return opener.apply(
          extract(name, "org/modegpt/native/" + platform() + "/", List.of(file)).resolve(file));
    } catch (BackendException e) {
      reasons.add(e.getMessage());
    }
    throw new BackendException(String.join("; ", reasons));
  }

  /// Extracts `files`, resources under `prefix`, side by side and returns their folder.
  static Path extract(String name, String prefix, List<String> files) {
    List<URL> urls = new ArrayList<>();
    CRC32 key = new CRC32();
    long size = 0;
    try {
      for (String file : files) {
        URL url = NativeLibrary.class.getClassLoader().getResource(prefix + file);
        if (url == null) {
          throw new BackendException(
              file + " for " + platform() + " is not among the jars of this installation");
        }
        urls.add(url);
        long[] print = fingerprint(url);
        size += print[1];
        for (int shift = 0; shift < 32; shift += 8) {
          key.update((int) (print[0] >>> shift) & 0xff);
        }
      }
      Path folder =
          cache().resolve("native").resolve(name + "-%08x-%d".formatted(key.getValue(), size));
      Files.createDirectories(folder);
      for (int i = 0; i < files.size(); i++) {
        extract(urls.get(i), folder.resolve(files.get(i)));
      }
      return folder;
    } catch (IOException | UncheckedIOException e) {
      throw new BackendException(
          "cannot extract "
              + name
              + " ("
              + e
              + "): set MODEGPT_CACHE to a folder that can be written",
          e);
    }
  }

  private static Path cache() {
    String own = Settings.get("cache");
    if (own != null) {
      return Path.of(own);
    }
    String xdg = System.getenv("XDG_CACHE_HOME");
    Path base =
        xdg != null && !xdg.isBlank()
            ? Path.of(xdg)
            : Path.of(System.getProperty("user.home"), ".cache");
    return base.resolve("modegpt");
  }

  /// CRC-32 and size of a resource: from the directory of its jar, else by reading it.
  private static long[] fingerprint(URL url) throws IOException {
    URLConnection connection = url.openConnection();
    if (connection instanceof JarURLConnection jar) {
      return new long[] {jar.getJarEntry().getCrc(), jar.getJarEntry().getSize()};
    }
    try (CheckedInputStream in = new CheckedInputStream(connection.getInputStream(), new CRC32())) {
      long size = in.transferTo(OutputStream.nullOutputStream());
      return new long[] {in.getChecksum().getValue(), size};
    }
  }

  private static void extract(URL url, Path target) throws IOException {
    if (Files.exists(target)) {
      return;
    }
    Path temporary = Files.createTempFile(target.getParent(), ".extract", ".tmp");
    try (InputStream in = url.openStream()) {
      Files.copy(in, temporary, StandardCopyOption.REPLACE_EXISTING);
      Files.move(temporary, target, StandardCopyOption.ATOMIC_MOVE);
    } finally {
      Files.deleteIfExists(temporary);
    }
  }
}
