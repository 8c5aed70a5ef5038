package org.modegpt.export;

import java.lang.foreign.Arena;
import java.nio.file.Path;
import java.util.ArrayList;
import java.util.LinkedHashMap;
import java.util.List;
import java.util.Map;
import java.util.SequencedMap;
import java.util.function.IntConsumer;
import org.modegpt.Progress;
import org.modegpt.backend.Backend;
import org.modegpt.io.GgufVocabulary;
import org.modegpt.io.GgufWriter;
import org.modegpt.io.ModelDirectory;
import org.modegpt.io.TensorInfo;
import org.modegpt.model.Architecture.Global;
import org.modegpt.model.Residents;
import org.modegpt.model.Role;
import org.modegpt.tensor.DType;
import org.modegpt.tensor.Tensor;

/// Writes a model as one GGUF file that llama.cpp runs.
///
/// Vectors and learned positions stay F32. With Q4_0 the embedding and the output matrix are Q8_0,
/// for they suffer most; rows that are no whole blocks of a quantised type become F16.
final class GgufExport {
  private final DenseModel model;
  private final GgufLayout layout;
  private final DType dtype;
  private final Backend backend;

  GgufExport(DenseModel model, GgufLayout layout, DType dtype, Backend backend) {
    this.model = model;
    this.layout = layout;
    this.dtype = dtype;
    this.backend = backend;
  }

  /// @param name of the model in the file
  /// @param done told the number of layers written
  void write(ModelDirectory source, String name, Path out, IntConsumer done) {
    SequencedMap<String, Object> metadata = layout.metadata(name);
    metadata.put("general.file_type", fileType());
    if (dtype.quantised()) {
      metadata.put("general.quantization_version", 2);
    }
    metadata.putAll(GgufVocabulary.metadata(source, model.sizes().vocabSize()));
    try (GgufWriter writer = new GgufWriter(out, metadata, declarations())) {
      for (Global global : Global.values()) {
        try (Arena arena = Arena.ofShared()) {
          Tensor tensor = model.global(global, arena);
          if (tensor != null) {
            if (global == Global.FINAL_NORM) {
              shift(tensor);
            }
            write(writer, arena, GgufLayout.name(global), tensor, type(global, tensor.cols()));
          }
        }
      }
      try (Arena arena = Arena.ofShared()) {
        layout
            .ropeFactors()
            .forEach((factors, values) ->
                writer.write(factors, Tensor.ofFloats(arena, 1, values.length, values)));
      }
      for (int layer = 0; layer < model.sizes().layers(); layer++) {
        Progress.checkCancelled();
        block(writer, layer);
        done.accept(layer + 1);
      }
      writer.commit();
    }
  }

  private int fileType() {
    return switch (dtype) {
      case F32 -> 0;
      case F16 -> 1;
      case Q4_0 -> 2;
      case Q8_0 -> 7;
      default -> 32; // BF16
    };
  }

  private List<TensorInfo> declarations() {
    List<TensorInfo> all = new ArrayList<>();
    for (Global global : Global.values()) {
      TensorInfo info = model.info(global);
      if (info != null) {
        all.add(TensorInfo.of(GgufLayout.name(global), type(global, info.cols()), info.shape()));
      }
    }
    layout
        .ropeFactors()
        .forEach((factors, values) -> all.add(TensorInfo.of(factors, DType.F32, values.length)));
    for (int layer = 0; layer < model.sizes().layers(); layer++) {
      for (Map.Entry<String, Part> entry : parts(layer).entrySet()) {
        List<Long> shape = entry.getValue().shape;
        all.add(TensorInfo.of(entry.getKey(), type(shape), shape));
      }
    }
    return all;
  }

  private DType type(Global global, long cols) {
    return switch (global) {
      case FINAL_NORM, FINAL_NORM_BIAS, POSITIONS -> DType.F32;
      case EMBEDDING, HEAD -> whole(dtype == DType.Q4_0 ? DType.Q8_0 : dtype, cols);
    };
  }

  private DType type(List<Long> shape) {
    return shape.size() < 2 ? DType.F32 : whole(dtype, shape.get(1));
  }

  private static DType whole(DType wanted, long cols) {
    return cols % wanted.blockLength() == 0 ? wanted : DType.F16;
  }

  /// A tensor of a block: one role's weight, or several that the architecture wants in one.
  private record Part(List<Role> roles, List<Long> shape) {}

  private SequencedMap<String, Part> parts(int layer) {
    SequencedMap<String, Part> parts = new LinkedHashMap<>();
    for (Role role : model.presentRoles()) {
      List<Role> together = layout.together(role);
      List<Long> shape = model.shape(role, layer);
      if (together.size() == 1) {
        parts.put(layout.name(role, layer), new Part(together, vector(role, shape)));
      } else if (role == together.getFirst()) {
        long outputs = together.stream().mapToLong(r -> model.shape(r, layer).getFirst()).sum();
        List<Long> joint = shape.size() == 1 ? List.of(outputs) : List.of(outputs, shape.get(1));
        parts.put(layout.name(role, layer), new Part(together, joint));
      }
    }
    return parts;
  }

  /// The norm of queries and keys is stored for one head where all share it.
  private List<Long> vector(Role role, List<Long> shape) {
    boolean shared =
        (role == Role.Q_NORM || role == Role.K_NORM)
            && model.family().slice(role, 0, model.sizes()).rows() != null;
    return shared ? List.of((long) model.sizes().headDim()) : shape;
  }

  private void block(GgufWriter writer, int layer) {
    try (Arena arena = Arena.ofShared()) {
      Map<Role, Tensor> weights = model.block(arena, layer);
      weights.forEach((role, tensor) -> {
        if (role.normWeight()) {
          shift(tensor);
        }
      });
      scaleQueries(weights);
      parts(layer)
          .forEach((name, part) -> {
            Role role = part.roles.getFirst();
            Tensor tensor = weights.get(role);
            if (part.roles.size() > 1) {
              tensor = stacked(arena, part.roles.stream().map(weights::get).toList());
            }
            int heads = layout.permutedHeads(role);
            if (heads > 0) {
              tensor = interleaved(arena, tensor, heads);
            }
            if (part.shape.size() == 1) {
              tensor = tensor.columns(0, part.shape.getFirst());
            }
            write(writer, arena, name, tensor, type(part.shape));
          });
    }
  }

  private void shift(Tensor norm) {
    for (long j = 0; j < norm.cols() && layout.normShift() != 0; j++) {
      norm.set(0, j, norm.get(0, j) + layout.normShift());
    }
  }

  /// Multiplies what the queries come from last: the weights of their norm, or the projection.
  private void scaleQueries(Map<Role, Tensor> weights) {
    float factor = layout.queryFactor();
    List<Role> roles =
        weights.containsKey(Role.Q_NORM) ? List.of(Role.Q_NORM) : List.of(Role.Q, Role.Q_BIAS);
    for (Role role : roles) {
      Tensor tensor = weights.get(role);
      for (long i = 0; tensor != null && factor != 1 && i < tensor.rows(); i++) {
        for (long j = 0; j < tensor.cols(); j++) {
          tensor.set(i, j, tensor.get(i, j) * factor);
        }
      }
    }
  }

  /// The outputs of several weights one after the other.
  private static Tensor stacked(Arena arena, List<Tensor> weights) {
    boolean vectors = weights.getFirst().rows() == 1;
    List<Tensor> columns = weights.stream().map(w -> vectors ? w.reshape(w.cols(), 1) : w).toList();
    long rows = columns.stream().mapToLong(Tensor::rows).sum();
    Tensor out = Tensor.allocate(arena, DType.F32, rows, columns.getFirst().cols());
    long at = 0;
    for (Tensor column : columns) {
      out.rows(at, at + column.rows()).copyFrom(column);
      at += column.rows();
    }
    return vectors ? out.reshape(1, rows) : out;
  }

  /// Rows of every head from two halves to pairs: row `s * h/2 + t` becomes row `2 t + s`.
  private static Tensor interleaved(Arena arena, Tensor x, int heads) {
    boolean vector = x.rows() == 1;
    Tensor from = vector ? x.reshape(x.cols(), 1) : x;
    Tensor out = Tensor.allocate(arena, DType.F32, from.rows(), from.cols());
    long half = from.rows() / heads / 2;
    for (long i = 0; i < from.rows(); i++) {
      long head = i / (2 * half);
      long within = i % (2 * half);
      long to = head * 2 * half + 2 * (within % half) + within / half;
      out.rows(to, to + 1).copyFrom(from.rows(i, i + 1));
    }
    return vector ? out.reshape(1, x.cols()) : out;
  }

  private void write(GgufWriter writer, Arena arena, String name, Tensor tensor, DType type) {
    Tensor cast = Residents.converted(backend, arena, tensor, type);
    writer.write(name, Residents.download(backend, arena, cast));
  }
}
