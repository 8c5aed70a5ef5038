package org.modegpt.backend;

import java.nio.file.Path;
import java.util.ArrayList;
import java.util.List;
import java.util.function.IntFunction;
import org.jspecify.annotations.Nullable;
import org.modegpt.Settings;
import org.modegpt.UserException;

/// Opens back-ends by name and says why one cannot be had.
public final class Backends {

  private static final System.Logger LOG = System.getLogger(Backends.class.getName());

  /// What became of trying a backend on this machine.
  ///
  /// @param reason why it is not available; empty when it is
  /// @param description {@link Backend#describe}; empty when it is not available
  public record Candidate(String name, boolean available, String reason, String description) {}

  private record Provider(String name, IntFunction<Backend> open) {}

  /// In the order of preference of `auto`.
  private static final List<Provider> PROVIDERS =
      List.of(
          new Provider("cuda", _ -> cuda(0)),
          new Provider("cpu", threads -> cpu(threads, Settings.get("isa"))),
          new Provider("reference", threads -> new CheckedBackend(new ReferenceBackend())));

  private Backends() {}

  /// Opens a backend; the caller closes it.
  ///
  /// @param device `cpu`, `cuda`, `reference`, or `auto` for the first of cuda, cpu and reference
  ///   that works
  /// @param threads 0 for the setting `num.threads` or else all processors
  /// @throws UserException for an unknown name
  /// @throws BackendException when the asked device, or any at all, is not available: its message
  ///   has the reasons
  public static Backend open(String device, int threads) {
    int count = threads(threads);
    String profile = Settings.get("profile");
    Backend backend = opened(device, count);
    return profile == null ? backend : OpProfile.into(Path.of(profile), backend);
  }

  private static Backend opened(String device, int count) {
    if (!device.equals("auto")) {
      return provider(device).open().apply(count);
    }
    List<String> reasons = new ArrayList<>();
    for (Provider provider : PROVIDERS) {
      try {
        Backend backend = provider.open().apply(count);
        if (provider.name().equals("reference")) {
          LOG.log(
              System.Logger.Level.WARNING,
              "using the slow reference back-end: " + String.join("; ", reasons));
        }
        return backend;
      } catch (BackendException e) {
        reasons.add(provider.name() + ": " + e.getMessage());
      }
    }
    throw new BackendException("no back-end is available: " + String.join("; ", reasons));
  }

  /// Tries every backend and reports each.
  public static List<Candidate> candidates() {
    List<Candidate> found = new ArrayList<>();
    for (Provider provider : PROVIDERS) {
      try (Backend backend = provider.open().apply(threads(0))) {
        found.add(new Candidate(provider.name(), true, "", backend.describe()));
      } catch (BackendException e) {
        found.add(new Candidate(provider.name(), false, String.valueOf(e.getMessage()), ""));
      }
    }
    return found;
  }

  /// A CPU backend whose kernels use at most the instruction set `isa` (null for the best there
  /// is).
  static Backend cpu(int threads, @Nullable String isa) {
    Kernels kernels = NativeLibrary.open("modegpt_cpu", Kernels::open);
    int count = threads(threads);
    return new CheckedBackend(new CpuBackend(kernels, OpenBlas.load(), oneDnn(count), count, isa));
  }

  /// oneDNN when the setting `gemm` asks for bfloat16 products; it refuses CPUs without them.
  private static @Nullable OneDnn oneDnn(int threads) {
    String gemm = Settings.get("gemm");
    if (gemm == null || gemm.equals("f32")) {
      return null;
    }
    if (!gemm.equals("bf16")) {
      throw new UserException(
          "MODEGPT_GEMM (-Dmodegpt.gemm) is '" + gemm + "': on a CPU want f32 or bf16");
    }
    return OneDnn.load(threads);
  }

  private static Backend cuda(int device) {
    Kernels kernels = NativeLibrary.open("modegpt_cuda", Kernels::open);
    String gemm = Settings.get("gemm");
    Products products =
        switch (gemm == null ? "tf32" : gemm) {
          case "f32" -> Products.F32;
          case "tf32" -> Products.TF32;
          case "bf16" -> Products.BF16;
          default ->
              throw new UserException(
                  "MODEGPT_GEMM (-Dmodegpt.gemm) is '" + gemm + "': want f32, tf32 or bf16");
        };
    return new CheckedBackend(CudaBackend.open(kernels, device, products));
  }

  private static Provider provider(String name) {
    if (name.matches("cuda:\\d{1,4}")) {
      int device = Integer.parseInt(name.substring("cuda:".length()));
      return new Provider(name, _ -> cuda(device));
    }
    for (Provider provider : PROVIDERS) {
      if (provider.name().equals(name)) {
        return provider;
      }
    }
    throw new UserException(
        "unknown device '" + name + "': choose one of auto, cpu, cuda, cuda:N, reference");
  }

  private static int threads(int asked) {
    if (asked < 0) {
      throw new UserException(
          "the number of threads is " + asked + ": want 0 (all processors) or more");
    }
    return asked > 0
        ? asked
        : Settings.getInt("num.threads", 1, Runtime.getRuntime().availableProcessors());
  }
}
