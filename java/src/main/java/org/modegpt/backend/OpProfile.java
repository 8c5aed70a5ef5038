package org.modegpt.backend;

import java.io.IOException;
import java.lang.reflect.InvocationTargetException;
import java.lang.reflect.Proxy;
import java.nio.file.Files;
import java.nio.file.Path;
import java.util.ArrayList;
import java.util.Comparator;
import java.util.HashMap;
import java.util.List;
import java.util.Locale;
import java.util.Map;
import java.util.Set;
import java.util.stream.Stream;
import org.jspecify.annotations.Nullable;
import org.modegpt.UserException;
import org.modegpt.tensor.Tensor;

/// Times every operation of a back-end by its shapes: where a run's time goes, and how near the
/// products come to what the hardware can do. Each operation is waited for, so what its stream
/// would do beside it is lost and the whole takes a little longer; the operations of all streams
/// are added up. The table is written when the back-end is closed.
final class OpProfile {
  /// Operations that are no work of the device.
  private static final Set<String> FREE =
      Set.of(
          "name",
          "describe",
          "unifiedMemory",
          "products",
          "operandType",
          "passRows",
          "freeMemory",
          "sync");

  private static final class Entry {
    long calls;
    long nanos;
    double operations;
  }

  private final Map<String, Entry> entries = new HashMap<>();
  private final long start = System.nanoTime();

  /// `backend`, timed until it is closed; then `file` holds a table with tabs between its columns.
  static Backend into(Path file, Backend backend) {
    OpProfile profile = new OpProfile();
    return profile.wrap(backend, () -> profile.write(file));
  }

  private Backend wrap(Backend backend, Runnable atEnd) {
    return (Backend)
        Proxy.newProxyInstance(
            Backend.class.getClassLoader(),
            new Class<?>[] {Backend.class},
            (_, method, arguments) -> {
              String op = method.getName();
              if (op.equals("close")) {
                try (backend) {
                  atEnd.run();
                }
                return null;
              }
              try {
                if (op.equals("sideStream")) {
                  Backend side = backend.sideStream();
                  return side == null ? null : wrap(side, () -> {});
                }
                if (FREE.contains(op) || method.getDeclaringClass() == Object.class) {
                  return method.invoke(backend, arguments);
                }
                long from = System.nanoTime();
                Object result = method.invoke(backend, arguments);
                backend.sync();
                add(op, arguments, System.nanoTime() - from);
                return result;
              } catch (InvocationTargetException e) {
                throw e.getCause();
              }
            });
  }

  private synchronized void add(String op, Object[] arguments, long nanos) {
    List<Tensor> tensors =
        Stream.of(arguments)
            .flatMap(OpProfile::flat)
            .filter(Tensor.class::isInstance)
            .map(Tensor.class::cast)
            .toList();
    StringBuilder key = new StringBuilder(op);
    tensors.stream()
        .limit(2)
        .forEach(t -> key.append(" %s[%d,%d]".formatted(t.dtype(), t.rows(), t.cols())));
    Entry entry = entries.computeIfAbsent(key.toString(), _ -> new Entry());
    entry.calls++;
    entry.nanos += nanos;
    entry.operations += operations(op, arguments, tensors);
  }

  /// Of several matrices that read the same rows, these matrices.
  private static Stream<?> flat(@Nullable Object argument) {
    return argument instanceof List<?> list
        ? list.stream().map(p -> ((Backend.Projection) p).weight())
        : Stream.ofNullable(argument);
  }

  /// Multiplications and additions that the result needs; 0 for what is bound by memory.
  static double operations(String op, Object[] arguments, List<Tensor> tensors) {
    Tensor first = tensors.isEmpty() ? null : tensors.getFirst();
    if (first == null) {
      return 0;
    }
    double rows = first.rows();
    double cols = first.cols();
    return switch (op) {
      case "linear" -> 2 * rows * cols * tensors.get(1).rows();
      case "project" -> 2 * rows * cols * tensors.stream().skip(1).mapToLong(Tensor::rows).sum();
      case "gram" -> rows * cols * (cols + 1);
      case "crossGram" -> 2 * rows * cols * tensors.get(1).cols();
      case "headGram" -> 2 * rows * cols * tensors.get(1).cols();
      case "gemm" ->
          2 * (double) tensors.get(2).elements() * (arguments[0].equals(true) ? rows : cols);
      case "cholesky", "triangularInverse" -> rows * rows * rows / 3;
      case "triangularSolve" -> rows * (double) tensors.get(1).elements();
      case "attention" -> attention((AttentionShape) arguments[3], tensors);
      default -> 0;
    };
  }

  /// Where sequences have lengths of their own, that of the longest counts for all.
  private static double attention(AttentionShape shape, List<Tensor> tensors) {
    double widths = (double) tensors.getFirst().cols() + tensors.getLast().cols();
    double seen = shape.keys() - (shape.queries() - 1) / 2.0;
    return 2 * shape.batch() * shape.queries() * seen * widths;
  }

  private void write(Path file) {
    double wall = (System.nanoTime() - start) / 1e9;
    List<String> lines = new ArrayList<>(List.of("seconds\tcalls\tms/call\tTFLOP/s\toperation"));
    entries.entrySet().stream()
        .sorted(Map.Entry.comparingByValue(Comparator.comparingLong((Entry e) -> -e.nanos)))
        .forEach(e -> lines.add(line(e.getKey(), e.getValue())));
    double timed = entries.values().stream().mapToLong(e -> e.nanos).sum() / 1e9;
    lines.add(String.format(Locale.ROOT, "%.3f\t\t\t\tall operations, of %.3f", timed, wall));
    try {
      Files.write(file, lines);
    } catch (IOException e) {
      throw new UserException("cannot write the profile " + file + ": " + e.getMessage(), e);
    }
  }

  private static String line(String operation, Entry e) {
    double seconds = e.nanos / 1e9;
    return String.format(
        Locale.ROOT,
        "%.4f\t%d\t%.4f\t%.2f\t%s",
        seconds,
        e.calls,
        1e3 * seconds / e.calls,
        e.operations / seconds / 1e12,
        operation);
  }
}
