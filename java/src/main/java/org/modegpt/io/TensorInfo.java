package org.modegpt.io;

import java.util.List;
import java.util.Objects;

/// What a checkpoint says about one tensor, before its data is touched.
///
/// @param name the Hugging Face parameter name, for example `model.layers.0.mlp.up_proj.weight`
/// @param dtype the stored type in the file's own spelling (`BF16`, `I64`, `Q4_K`)
/// @param shape outermost dimension first; empty for a scalar
/// @param bytes size of the stored data
public record TensorInfo(String name, String dtype, List<Long> shape, long bytes) {

  public TensorInfo {
    Objects.requireNonNull(name, "name");
    Objects.requireNonNull(dtype, "dtype");
    shape = List.copyOf(shape);
  }

  /// Rows of the matrix view: the first of several dimensions; a vector or a scalar is one row.
  public long rows() {
    return shape.size() < 2 ? 1 : shape.getFirst();
  }

  /// Columns of the matrix view: the product of the dimensions after the first, or the length of a
  /// vector.
  public long cols() {
    long product = 1;
    for (long n : shape.size() < 2 ? shape : shape.subList(1, shape.size())) {
      product = Math.multiplyExact(product, n);
    }
    return product;
  }

  public long elements() {
    return Math.multiplyExact(rows(), cols());
  }
}
