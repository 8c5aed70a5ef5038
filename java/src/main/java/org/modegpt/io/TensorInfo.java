package org.modegpt.io;

import java.util.Arrays;
import java.util.List;
import java.util.Objects;
import org.modegpt.tensor.DType;
import org.modegpt.tensor.Tensor;

/// What a checkpoint says, or will say, about one tensor, before its data is touched.
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

  /// A tensor that is about to be written, in one of the engine's plain types; a vector has one
  /// dimension.
  public static TensorInfo of(String name, DType dtype, long... shape) {
    return of(name, dtype, Arrays.stream(shape).boxed().toList());
  }

  public static TensorInfo of(String name, DType dtype, List<Long> shape) {
    return new TensorInfo(
        name, dtype.name(), shape, dtype.bytes(shape.stream().reduce(1L, Math::multiplyExact)));
  }

  /// A matrix that is about to be written.
  public static TensorInfo of(String name, Tensor tensor) {
    return of(name, tensor.dtype(), tensor.rows(), tensor.cols());
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
