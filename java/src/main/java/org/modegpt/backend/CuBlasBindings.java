package org.modegpt.backend;

import java.io.IOException;
import java.lang.foreign.MemorySegment;
import java.net.URL;
import java.net.URLClassLoader;
import java.nio.file.DirectoryStream;
import java.nio.file.Files;
import java.nio.file.Path;
import java.util.ArrayList;
import java.util.List;
import java.util.ServiceLoader;
import java.util.function.Supplier;
import org.jspecify.annotations.Nullable;
import org.modegpt.Settings;

/// Chooses how cuBLAS is called, by the setting `cublas.binding`: `ffm` (default), or the name of a
/// service on the class path or among the jars of the folder of the setting `plugins`.
final class CuBlasBindings {
  private static final String FFM = "ffm";

  private CuBlasBindings() {}

  /// @param ffm makes the built-in binding
  static CuBlas open(Supplier<CuBlas> ffm, MemorySegment stream) {
    String wanted = Settings.get("cublas.binding");
    if (wanted == null || wanted.equals(FFM)) {
      return ffm.get();
    }
    for (CuBlas.Binding binding : ServiceLoader.load(CuBlas.Binding.class, loader())) {
      if (binding.name().equals(wanted)) {
        return binding.open(stream.address());
      }
    }
    throw new BackendException(
        "there is no cuBLAS binding '"
            + wanted
            + "': use ffm, or name the folder of its jars in MODEGPT_PLUGINS");
  }

  private static @Nullable ClassLoader plugins;

  /// One for the process, as the libraries are that it loads.
  private static synchronized ClassLoader loader() {
    ClassLoader known = plugins;
    if (known == null) {
      known = makeLoader();
      plugins = known;
    }
    return known;
  }

  private static ClassLoader makeLoader() {
    ClassLoader own = CuBlasBindings.class.getClassLoader();
    String folder = Settings.get("plugins");
    if (folder == null) {
      return own;
    }
    List<URL> jars = new ArrayList<>();
    try (DirectoryStream<Path> files = Files.newDirectoryStream(Path.of(folder), "*.jar")) {
      for (Path file : files) {
        jars.add(file.toUri().toURL());
      }
    } catch (IOException e) {
      throw new BackendException("cannot read the folder of plugins, " + folder, e);
    }
    return new URLClassLoader(jars.toArray(URL[]::new), own);
  }
}
