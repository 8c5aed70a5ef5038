package org.modegpt.cli;

import java.util.Locale;
import org.modegpt.compress.BlockSizes;
import org.modegpt.compress.RankPlan;
import org.modegpt.io.Json;
import org.modegpt.model.Transformer;
import tools.jackson.databind.node.ObjectNode;

/// What a plan leaves of a model: the ranks of each layer and the parameters of the whole.
final class PlanTable {
  private PlanTable() {}

  static void print(RankPlan plan, BlockSizes sizes, Transformer model, OutputOptions output) {
    long before = model.config().matrixParameters();
    long after = plan.parameters(sizes);
    long whole = model.parameters();
    if (output.json) {
      ObjectNode node = Json.MAPPER.createObjectNode();
      node.put("ratio", plan.ratio(sizes));
      node.put("matrix_parameters_before", before);
      node.put("matrix_parameters_after", after);
      node.put("parameters_before", whole);
      node.put("parameters_after", whole - before + after);
      node.set("layers", Json.MAPPER.readTree(plan.toJson()).get("layers"));
      output.print(node);
      return;
    }
    Table table = new Table("layer", "qk", "vo", "mlp", "parameters", "kept %");
    for (RankPlan.Row row : plan.table(sizes)) {
      table.row(
          row.layer(),
          row.qkRank(),
          row.voRank(),
          row.mlpWidth(),
          row.parameters(),
          String.format(Locale.ROOT, "%.1f", 100 * row.kept()));
    }
    output.out().print(table);
    output
        .out()
        .printf(
            Locale.ROOT,
            "block matrices %,d -> %,d (%.2f %% removed), model %,d -> %,d parameters%n",
            before,
            after,
            100 * plan.ratio(sizes),
            whole,
            whole - before + after);
    output.out().flush();
  }
}
