package org.modegpt.compress;

import java.lang.foreign.Arena;
import java.util.EnumMap;
import java.util.List;
import java.util.Map;
import org.modegpt.UserException;
import org.modegpt.backend.Backend;
import org.modegpt.model.LayerShape;
import org.modegpt.model.Role;
import org.modegpt.tensor.Tensor;

/// A compressed block in the shapes of the original architecture: what was removed is zero, so the
/// function is the same and any program that knows the original architecture can load it.
///
/// Kept rotary pairs go back to their places, query and key columns that do not turn come first
/// after them; MLP units and value columns, whose places do not matter, come first. An output bias
/// that took in a value bias stays: the original architecture must allow one.
public final class DenseView {
  private final Backend backend;
  private final BlockSizes sizes;

  public DenseView(Backend backend, BlockSizes sizes) {
    this.backend = backend;
    this.sizes = sizes;
  }

  /// The padded weights of one block.
  ///
  /// @param arena owns the padded tensors; tensors that need no padding are those given
  /// @param weights of the compressed block, of plain float dtypes
  public Map<Role, Tensor> of(Arena arena, LayerShape shape, Map<Role, Tensor> weights) {
    if (shape.qkDim() < sizes.headDim() && weights.containsKey(Role.Q_NORM)) {
      throw new UserException(
          "normalised queries and keys that lost pairs have no form in the original shapes; compress the original again with this --format, which keeps them whole");
    }
    Map<Role, Tensor> result = new EnumMap<>(weights);
    int h = sizes.headDim();
    weights.forEach((role, tensor) -> {
      Tensor padded =
          switch (role) {
            case Q, Q_BIAS -> rotary(arena, shape, tensor, sizes.heads());
            case K, K_BIAS -> rotary(arena, shape, tensor, sizes.kvHeads());
            case V, V_BIAS -> blocks(arena, tensor, role.bias(), sizes.kvHeads(), shape.voDim(), h);
            case O -> blocks(arena, tensor, true, sizes.heads(), shape.voDim(), h);
            case GATE, UP, GATE_BIAS, UP_BIAS ->
                blocks(arena, tensor, role.bias(), 1, shape.mlpWidth(), sizes.mlpWidth());
            case DOWN -> blocks(arena, tensor, true, 1, shape.mlpWidth(), sizes.mlpWidth());
            default -> tensor; // norms and biases of the stream
          };
      result.put(role, padded);
    });
    return result;
  }

  private Tensor rotary(Arena arena, LayerShape shape, Tensor x, int heads) {
    if (shape.qkDim() == sizes.headDim()) {
      return x;
    }
    int[] places = places(shape, heads);
    long full = (long) heads * sizes.headDim();
    boolean bias = x.rows() == 1;
    Tensor out = zeros(arena, x, bias ? 1 : full, bias ? full : x.cols());
    Tensor from = bias ? x.reshape(x.cols(), 1) : x;
    Tensor to = bias ? out.reshape(full, 1) : out;
    for (int i = 0; i < places.length; i++) {
      backend.copy(from.rows(i, i + 1L), to.rows(places[i], places[i] + 1L));
    }
    return out;
  }

  /// For every row of the shrunk heads its row in the original ones.
  private int[] places(LayerShape shape, int heads) {
    // A layer without pairs in a model whose heads turn as a whole never had any.
    boolean never = shape.pairs() == 0 && 2 * sizes.pairs() == sizes.headDim();
    int pairs = never ? 0 : sizes.pairs();
    int[] places = new int[heads * shape.qkDim()];
    for (int i = 0; i < places.length; i++) {
      int head = i / shape.qkDim();
      int column = i % shape.qkDim();
      List<Integer> kept = shape.rotaryPairs().get(head / (heads / sizes.kvHeads()));
      int place;
      if (column >= 2 * kept.size()) {
        place = 2 * pairs + column - 2 * kept.size();
      } else {
        place = kept.get(column % kept.size()) + (column < kept.size() ? 0 : pairs);
      }
      places[i] = head * sizes.headDim() + place;
    }
    return places;
  }

  /// Widens every one of `count` blocks of rows or columns from `size` to `full`.
  private Tensor blocks(Arena arena, Tensor x, boolean columns, int count, int size, int full) {
    if (size == full) {
      return x;
    }
    long wide = (long) count * full;
    Tensor out = zeros(arena, x, columns ? x.rows() : wide, columns ? wide : x.cols());
    for (int i = 0; i < count; i++) {
      long from = (long) i * size;
      long to = (long) i * full;
      if (columns) {
        backend.copy(x.columns(from, from + size), out.columns(to, to + size));
      } else {
        backend.copy(x.rows(from, from + size), out.rows(to, to + size));
      }
    }
    return out;
  }

  private Tensor zeros(Arena arena, Tensor like, long rows, long cols) {
    Tensor t = backend.allocate(arena, like.dtype(), rows, cols);
    backend.fillZero(t);
    return t;
  }
}
