package org.modegpt.compress;

import java.util.ArrayList;
import java.util.Comparator;
import java.util.List;

/// Spreads a number of parameters to remove over modules so that the sum of their removal curves is
/// least: one Lagrange multiplier, the slope at which the budget is met.
final class CurvePlanner {
  private CurvePlanner() {}

  private record Piece(int curve, RemovalCurve.Segment segment) {}

  /// @param curves one per module
  /// @param toRemove parameters to remove in all
  /// @return the share to remove of each module; what the curves cannot take is left out
  static double[] shares(List<RemovalCurve> curves, double toRemove) {
    double[] shares = new double[curves.size()];
    List<Piece> pieces = new ArrayList<>();
    double left = toRemove;
    for (int i = 0; i < shares.length; i++) {
      RemovalCurve curve = curves.get(i);
      shares[i] = curve.first();
      left -= curve.first() * curve.parameters();
      for (RemovalCurve.Segment segment : curve.segments()) {
        pieces.add(new Piece(i, segment));
      }
    }
    pieces.sort(
        Comparator.comparingDouble((Piece p) -> p.segment().slope())
            .thenComparingInt(Piece::curve)
            .thenComparingDouble(p -> p.segment().removed()));
    for (Piece piece : pieces) {
      double whole = piece.segment().length() * curves.get(piece.curve()).parameters();
      double taken = Math.min(left, whole);
      if (taken <= 0) {
        break;
      }
      shares[piece.curve()] += piece.segment().length() * taken / whole;
      left -= taken;
    }
    return shares;
  }
}
