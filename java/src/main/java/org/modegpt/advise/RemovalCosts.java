package org.modegpt.advise;

import java.io.IOException;
import java.nio.file.Files;
import java.nio.file.Path;
import java.util.ArrayList;
import java.util.Comparator;
import java.util.List;
import java.util.Optional;
import org.modegpt.UserException;
import org.modegpt.io.Json;
import tools.jackson.databind.JsonNode;

/// What removing parameters costs by the removal curves that a measured allocation keeps beside a
/// statistics file (`<statistics>.curves.json`): the divergence, in nats per token, of the cheapest
/// plan for each ratio. Curves are per layer: query/key, value/output, MLP.
final class RemovalCosts {
  private static final List<String> MODULES = List.of("qk", "vo", "mlp");

  /// A straight piece of a module's curve: `parameters` of it cost `slope` nats each.
  private record Piece(int module, double parameters, double slope) {}

  private final List<Piece> pieces = new ArrayList<>();
  private double total;

  private RemovalCosts(JsonNode curves) {
    int module = 0;
    for (JsonNode curve : curves) {
      double parameters = curve.path("parameters").asDouble();
      total += parameters;
      List<double[]> hull = new ArrayList<>();
      for (JsonNode point : curve.path("points")) {
        double[] p = {
          point.path("removed").asDouble() * parameters, point.path("cost").asDouble(1e6)
        };
        while (hull.size() >= 2
            && slope(hull.get(hull.size() - 2), hull.getLast()) >= slope(hull.getLast(), p)) {
          hull.removeLast();
        }
        hull.add(p);
      }
      for (int i = 1; i < hull.size(); i++) {
        double length = hull.get(i)[0] - hull.get(i - 1)[0];
        pieces.add(new Piece(module, length, slope(hull.get(i - 1), hull.get(i))));
      }
      module++;
    }
    pieces.sort(Comparator.comparingDouble(Piece::slope));
  }

  private static double slope(double[] a, double[] b) {
    return (b[1] - a[1]) / (b[0] - a[0]);
  }

  /// The newest curves beside a statistics file; empty where there are none.
  static Optional<RemovalCosts> beside(Path statistics) {
    Path file = statistics.resolveSibling(statistics.getFileName() + ".curves.json");
    if (!Files.exists(file)) {
      return Optional.empty();
    }
    try {
      JsonNode entries = Json.object(Files.readAllBytes(file), file.toString()).path("entries");
      JsonNode curves = entries.path(entries.size() - 1).path("curves");
      return curves.isEmpty() ? Optional.empty() : Optional.of(new RemovalCosts(curves));
    } catch (IOException e) {
      throw new UserException("cannot read " + file + ": " + e.getMessage(), e);
    }
  }

  /// Modules the cheapest plan of this share leaves whole, which are those to spare.
  List<String> spared(double removed) {
    boolean[] touched = new boolean[pieces.stream().mapToInt(Piece::module).max().orElse(-1) + 1];
    double left = removed * total;
    for (Piece piece : pieces) {
      if (left <= 0) {
        break;
      }
      touched[piece.module()] = true;
      left -= piece.parameters();
    }
    List<String> spared = new ArrayList<>();
    for (int m = 0; m < touched.length; m++) {
      if (!touched[m]) {
        spared.add("layer " + m / 3 + " " + MODULES.get(m % 3));
      }
    }
    return spared;
  }
}
