package org.modegpt.export;

import java.lang.foreign.Arena;
import java.util.ArrayList;
import java.util.LinkedHashMap;
import java.util.List;
import java.util.Map;
import org.jspecify.annotations.Nullable;
import org.modegpt.backend.Backend;
import org.modegpt.io.CheckpointWriter;
import org.modegpt.io.TensorInfo;
import org.modegpt.io.TensorSlice;
import org.modegpt.model.Architecture.Global;
import org.modegpt.model.Residents;
import org.modegpt.model.Role;
import org.modegpt.tensor.DType;
import org.modegpt.tensor.Tensor;

/// The tensors of a Hugging Face folder as the family has them: what it fuses is fused, what it
/// transposes transposed. The inverse of reading them, by the same declarations.
final class FamilyFolder {
  private final DenseModel model;
  private final DType dtype;

  FamilyFolder(DenseModel model, DType dtype) {
    this.model = model;
    this.dtype = dtype;
  }

  /// The slices of every tensor of a block, by its name.
  private Map<String, Map<Role, TensorSlice>> tensors(int layer) {
    Map<String, Map<Role, TensorSlice>> tensors = new LinkedHashMap<>();
    for (Role role : model.presentRoles()) {
      TensorSlice slice = model.family().slice(role, layer, model.sizes());
      tensors.computeIfAbsent(slice.tensor(), _ -> new LinkedHashMap<>()).put(role, slice);
    }
    return tensors;
  }

  List<TensorInfo> declarations() {
    List<TensorInfo> all = new ArrayList<>();
    for (Global global : Global.values()) {
      TensorInfo info = model.info(global);
      if (info != null) {
        all.add(TensorInfo.of(model.family().name(global), dtype, info.shape()));
      }
    }
    model
        .layers()
        .forEach(layer ->
            tensors(layer)
                .forEach((name, slices) -> {
                  Role role = slices.keySet().iterator().next();
                  List<Long> shape = model.shape(role, layer);
                  long outputs =
                      slices.entrySet().stream()
                          .mapToLong(
                              e -> outputs(e.getValue(), model.shape(e.getKey(), layer).getFirst()))
                          .max()
                          .orElseThrow();
                  boolean vector = shape.size() < 2;
                  boolean transposed = slices.get(role).transposed() && !vector;
                  all.add(
                      TensorInfo.of(
                          name,
                          dtype,
                          vector
                              ? List.of(outputs)
                              : transposed
                                  ? List.of(shape.get(1), outputs)
                                  : List.of(outputs, shape.get(1))));
                }));
    return all;
  }

  /// Outputs that a file's tensor must have to hold a slice of a parameter with `own` outputs.
  private static long outputs(TensorSlice slice, long own) {
    int[] rows = slice.rows();
    if (rows == null) {
      return own;
    }
    int last = 0;
    for (int row : rows) {
      last = Math.max(last, row);
    }
    return last + 1L;
  }

  void writeGlobals(CheckpointWriter writer, Backend backend) {
    for (Global global : Global.values()) {
      try (Arena arena = Arena.ofShared()) {
        Tensor tensor = model.global(global, arena);
        if (tensor != null) {
          write(writer, backend, arena, model.family().name(global), tensor);
        }
      }
    }
  }

  void writeBlock(CheckpointWriter writer, Backend backend, int layer) {
    try (Arena arena = Arena.ofShared()) {
      Map<Role, Tensor> weights = model.block(arena, layer);
      tensors(layer)
          .forEach((name, slices) ->
              write(writer, backend, arena, name, joined(arena, slices, weights)));
    }
  }

  /// Puts the slices of a tensor together.
  private static Tensor joined(
      Arena arena, Map<Role, TensorSlice> slices, Map<Role, Tensor> weights) {
    @Nullable Tensor whole = null;
    boolean transposed = false;
    for (Map.Entry<Role, TensorSlice> entry : slices.entrySet()) {
      Tensor weight = weights.get(entry.getKey());
      boolean vector = !entry.getKey().compressible();
      transposed = entry.getValue().transposed() && !vector;
      int[] rows = entry.getValue().rows();
      if (rows == null && !transposed) {
        return weight;
      }
      Tensor from = vector ? weight.reshape(weight.cols(), 1) : weight;
      long outputs = 0;
      for (Map.Entry<Role, TensorSlice> e : slices.entrySet()) {
        Tensor w = weights.get(e.getKey());
        outputs = Math.max(outputs, outputs(e.getValue(), vector ? w.cols() : w.rows()));
      }
      if (whole == null) {
        whole = Tensor.allocate(arena, DType.F32, outputs, from.cols());
      }
      for (int i = 0; i < from.rows(); i++) {
        long to = rows == null ? i : rows[i];
        whole.rows(to, to + 1).copyFrom(from.rows(i, i + 1L));
      }
      if (vector) {
        whole = whole.reshape(whole.rows(), 1);
      }
    }
    if (whole == null) {
      throw new IllegalStateException("a tensor without parts");
    }
    boolean vector = !slices.keySet().iterator().next().compressible();
    return vector ? whole.reshape(1, whole.rows()) : transposed ? transposed(arena, whole) : whole;
  }

  private static Tensor transposed(Arena arena, Tensor x) {
    Tensor out = Tensor.allocate(arena, DType.F32, x.cols(), x.rows());
    for (long i = 0; i < x.rows(); i++) {
      for (long j = 0; j < x.cols(); j++) {
        out.set(j, i, x.get(i, j));
      }
    }
    return out;
  }

  private void write(
      CheckpointWriter writer, Backend backend, Arena arena, String name, Tensor tensor) {
    Tensor cast = Residents.converted(backend, arena, tensor, dtype);
    writer.write(name, Residents.download(backend, arena, cast));
  }
}
