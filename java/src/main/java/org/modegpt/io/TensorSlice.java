package org.modegpt.io;

import java.util.Arrays;
import java.util.stream.IntStream;
import org.jspecify.annotations.Nullable;

/// Where the rows of one parameter lie in the tensors of a file: families and file formats fuse
/// projections, order their rows differently, or store matrices transposed.
///
/// @param tensor name in the file
/// @param rows for each output (row of a matrix, element of a vector) its row in the file's tensor;
///   null for all in order
/// @param transposed whether the file has matrices as `[in, out]`; vectors are as they are
/// @param subtract taken off every element of a vector: 1 where a format stores `1 + w`
public record TensorSlice(
    String tensor, int @Nullable [] rows, boolean transposed, float subtract) {

  /// A parameter that is a tensor of the file as it is.
  public static TensorSlice whole(String tensor) {
    return new TensorSlice(tensor, null, false, 0);
  }

  /// Rows `from` to `from + count` of a tensor.
  public static TensorSlice range(String tensor, int from, int count) {
    return whole(tensor).withRows(IntStream.range(from, from + count).toArray());
  }

  public TensorSlice withRows(int... value) {
    return new TensorSlice(tensor, value, transposed, subtract);
  }

  public TensorSlice asTransposed() {
    return new TensorSlice(tensor, rows, true, subtract);
  }

  public TensorSlice minus(float value) {
    return new TensorSlice(tensor, rows, transposed, value);
  }

  /// Whether the parameter is the tensor of the file, byte for byte.
  boolean identity() {
    return rows == null && !transposed && subtract == 0;
  }

  @Override
  public boolean equals(Object other) {
    return other instanceof TensorSlice that
        && tensor.equals(that.tensor)
        && Arrays.equals(rows, that.rows)
        && transposed == that.transposed
        && subtract == that.subtract;
  }

  @Override
  public int hashCode() {
    return 31 * tensor.hashCode() + Arrays.hashCode(rows);
  }

  @Override
  public String toString() {
    return tensor + (rows == null ? "" : "[" + rows.length + " rows]");
  }
}
