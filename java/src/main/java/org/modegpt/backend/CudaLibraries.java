package org.modegpt.backend;

import java.io.File;
import java.io.IOException;
import java.lang.foreign.SymbolLookup;
import java.nio.file.DirectoryStream;
import java.nio.file.Files;
import java.nio.file.Path;
import java.util.ArrayList;
import java.util.List;
import java.util.Locale;
import org.jspecify.annotations.Nullable;
import org.modegpt.Settings;

/// NVIDIA's libraries, found when they are needed and never linked in: in the folder of the setting
/// `cuda.path`, else in `CUDA_PATH` or `CUDA_HOME`, else where the dynamic linker looks, else in
/// the usual installation folders.
final class CudaLibraries {

  /// cuBLAS, then cuSOLVER; each after the libraries it needs, which may lie in other folders.
  private static final List<String> CUBLAS = List.of("libcublasLt.so.13", "libcublas.so.13");

  private static final List<String> CUSOLVER =
      List.of("libnvJitLink.so.13", "libcusparse.so.12", "libcusolver.so.12");

  private static final List<String> SUBFOLDERS =
      List.of("", "lib64", "lib", "targets/x86_64-linux/lib", "nvidia/cu13/lib");

  private static @Nullable CudaLibraries loaded;

  final SymbolLookup cublas;
  final SymbolLookup cusolver;

  private CudaLibraries(SymbolLookup cublas, SymbolLookup cusolver) {
    this.cublas = cublas;
    this.cusolver = cusolver;
  }

  /// Opens them on the first call.
  ///
  /// @throws BackendException when one is missing: says which, and where it was looked for
  static synchronized CudaLibraries load() {
    CudaLibraries known = loaded;
    if (known == null) {
      List<Path> folders = folders();
      known = new CudaLibraries(open(CUBLAS, folders), open(CUSOLVER, folders));
      loaded = known;
    }
    return known;
  }

  /// Opens the last of `files`, after the others as far as they are found; it may not need them.
  private static SymbolLookup open(List<String> files, List<Path> folders) {
    SymbolLookup last = null;
    BackendException failure = null;
    for (String file : files) {
      try {
        last = open(file, folders);
        failure = null;
      } catch (BackendException e) {
        last = null;
        failure = e;
      }
    }
    if (last == null) {
      throw failure == null ? new BackendException("no libraries") : failure;
    }
    return last;
  }

  private static SymbolLookup open(String file, List<Path> folders) {
    for (Path folder : folders) {
      Path path = folder.resolve(file);
      if (Files.isRegularFile(path)) {
        return Downcalls.open(path);
      }
    }
    try {
      return Downcalls.openByName(file);
    } catch (BackendException e) {
      throw new BackendException(
          file
              + " of CUDA 13 was not found (looked in "
              + String.join(File.pathSeparator, folders.stream().map(Path::toString).toList())
              + " and where the system looks): install the CUDA 13 toolkit, or name its folder in"
              + " MODEGPT_CUDA_PATH",
          e);
    }
  }

  /// Existing folders to look in, in order.
  private static List<Path> folders() {
    List<Path> roots = new ArrayList<>();
    String own = Settings.get("cuda.path");
    if (own != null) {
      for (String part : own.split(File.pathSeparator, -1)) {
        roots.add(Path.of(part));
      }
    }
    for (String variable : List.of("CUDA_PATH", "CUDA_HOME")) {
      String value = System.getenv(variable);
      if (value != null && !value.isBlank()) {
        roots.add(Path.of(value));
      }
    }
    for (String variable : List.of("LD_LIBRARY_PATH")) {
      String value = System.getenv(variable);
      if (value != null) {
        for (String part : value.split(File.pathSeparator, -1)) {
          if (!part.isBlank()) {
            roots.add(Path.of(part));
          }
        }
      }
    }
    roots.addAll(toolkits(Path.of("/usr/local")));
    roots.addAll(toolkits(Path.of("/opt")));
    List<Path> folders = new ArrayList<>();
    for (Path root : roots) {
      for (String sub : SUBFOLDERS) {
        Path folder = root.resolve(sub);
        if (Files.isDirectory(folder)) {
          folders.add(folder);
        }
      }
    }
    return folders;
  }

  /// `cuda`, `cuda-13.0`, … below `parent`.
  private static List<Path> toolkits(Path parent) {
    List<Path> found = new ArrayList<>();
    if (Files.isDirectory(parent)) {
      try (DirectoryStream<Path> stream = Files.newDirectoryStream(parent, "cuda*")) {
        stream.forEach(found::add);
      } catch (IOException e) {
        throw new BackendException("cannot list " + parent + ": " + e.getMessage(), e);
      }
    }
    found.sort((a, b) ->
        b.toString().toLowerCase(Locale.ROOT).compareTo(a.toString().toLowerCase(Locale.ROOT)));
    return found;
  }
}
