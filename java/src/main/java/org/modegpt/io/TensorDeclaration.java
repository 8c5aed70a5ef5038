package org.modegpt.io;

import java.util.Arrays;
import java.util.List;
import java.util.Objects;
import org.modegpt.tensor.DType;

/// A tensor that will be written: its place in the file is fixed before any data exists.
///
/// @param dtype F64, F32, F16, BF16 or I32
/// @param shape outermost dimension first; a vector has one dimension, as its readers expect
public record TensorDeclaration(String name, DType dtype, List<Long> shape) {

  public TensorDeclaration {
    Objects.requireNonNull(name, "name");
    shape = List.copyOf(shape);
    if (dtype.quantised()) {
      throw new IllegalArgumentException(
          "safetensors cannot hold " + dtype + " (" + name + "): cast it first");
    }
    if (name.equals("__metadata__")) {
      throw new IllegalArgumentException("__metadata__ is no tensor name");
    }
  }

  public static TensorDeclaration of(String name, DType dtype, long... shape) {
    return new TensorDeclaration(name, dtype, Arrays.stream(shape).boxed().toList());
  }

  public long elements() {
    return shape.stream().reduce(1L, Math::multiplyExact);
  }

  public long bytes() {
    return dtype.bytes(elements());
  }
}
