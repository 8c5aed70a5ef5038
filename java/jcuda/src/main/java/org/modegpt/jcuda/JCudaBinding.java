package org.modegpt.jcuda;

import java.io.File;
import java.nio.file.Files;
import java.nio.file.Path;
import java.util.List;
import org.modegpt.Settings;
import org.modegpt.backend.BackendException;
import org.modegpt.backend.CuBlas;

/// cuBLAS of CUDA 12 by JCuda. Its libraries are looked for in the folders of the setting
/// `cuda.path`, else where the dynamic linker looks.
public final class JCudaBinding implements CuBlas.Binding {
  private static final List<String> FILES = List.of("libcublasLt.so.12", "libcublas.so.12");

  @Override
  public String name() {
    return "jcuda";
  }

  @Override
  public CuBlas open(long stream) {
    preload();
    try {
      return new JCudaBlas(stream);
    } catch (UnsatisfiedLinkError | NoClassDefFoundError e) {
      throw new BackendException(
          "JCuda needs libcublas.so.12 of CUDA 12 ("
              + e.getMessage()
              + "): name its folder in MODEGPT_CUDA_PATH, or use --cublas-binding ffm",
          e);
    }
  }

  /// JCuda's library finds what it needs by name when it is loaded already.
  @SuppressWarnings("restricted")
  private static void preload() {
    String folders = Settings.get("cuda.path");
    if (folders == null) {
      return;
    }
    for (String file : FILES) {
      for (String folder : folders.split(File.pathSeparator, -1)) {
        Path path = Path.of(folder, file).toAbsolutePath();
        if (Files.isRegularFile(path)) {
          System.load(path.toString());
          break;
        }
      }
    }
  }
}
