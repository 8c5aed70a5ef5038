package org.modegpt.cli;

import java.util.List;
import java.util.Locale;
import java.util.concurrent.Callable;
import java.util.stream.Collectors;
import org.modegpt.io.ByteSize;
import org.modegpt.io.Json;
import org.modegpt.io.TensorInfo;
import org.modegpt.model.LayerShape;
import org.modegpt.model.ModelConfig;
import org.modegpt.model.Transformer;
import picocli.CommandLine.Command;
import picocli.CommandLine.Mixin;
import picocli.CommandLine.Option;
import tools.jackson.databind.node.ObjectNode;

@Command(
    name = "inspect",
    description = "Shows a model's configuration, sizes and tensors.",
    mixinStandardHelpOptions = true,
    footer = {
      "",
      "Examples:",
      "  modegpt inspect my-model",
      "  modegpt inspect model.gguf --tensors --json"
    })
final class InspectCommand implements Callable<Integer> {
  @Mixin private ModelOption source;

  @Option(names = "--tensors", description = "List every tensor.")
  private boolean listTensors;

  @Mixin private OutputOptions output;

  @Override
  public Integer call() {
    try (Transformer model = source.open()) {
      if (output.json) {
        output.print(json(model));
      } else {
        text(model);
      }
    }
    return 0;
  }

  private static String positions(ModelConfig config) {
    if (config.ropes().isEmpty()) {
      return "learned";
    }
    return config.ropes().stream()
        .map(r -> r.type().equals("given") ? "rope" : "rope " + r.type() + " theta " + r.theta())
        .distinct()
        .collect(Collectors.joining(" and "));
  }

  private ObjectNode json(Transformer model) {
    ModelConfig c = model.config();
    ObjectNode node = Json.MAPPER.createObjectNode();
    node.put("name", model.directory().name());
    node.put("model_type", c.modelType());
    node.put("compressed", c.compressed());
    node.put("parameters", model.parameters());
    node.put("matrix_parameters", c.matrixParameters());
    node.put("bytes", model.bytes());
    node.put("layers", c.layers());
    node.put("hidden_size", c.hiddenSize());
    node.put("heads", c.heads());
    node.put("kv_heads", c.kvHeads());
    node.put("head_dim", c.headDim());
    node.put("mlp_width", c.mlpWidth());
    node.put("vocab_size", c.vocabSize());
    node.put("context_length", c.contextLength());
    node.put("tied_embeddings", c.tiedEmbeddings());
    node.set(
        "shapes",
        Json.MAPPER.valueToTree(
            c.shapes().stream().map(s -> List.of(s.mlpWidth(), s.qkDim(), s.voDim())).toList()));
    if (listTensors) {
      node.set(
          "tensors",
          Json.MAPPER.valueToTree(
              model.tensors().names().stream().map(model.tensors()::info).toList()));
    }
    return node;
  }

  private void text(Transformer model) {
    ModelConfig c = model.config();
    line("model", model.directory().path() + (c.compressed() ? " (compressed)" : ""));
    line("architecture", c.modelType());
    line(
        "parameters",
        "%,d, of them %,d in block matrices".formatted(model.parameters(), c.matrixParameters()));
    line("size", ByteSize.format(model.bytes()));
    line("layers", Integer.toString(c.layers()));
    line("hidden size", Integer.toString(c.hiddenSize()));
    line("heads", c.heads() + " query, " + c.kvHeads() + " key/value, of " + c.headDim());
    line("MLP width", Integer.toString(c.mlpWidth()));
    line("vocabulary", c.vocabSize() + (c.tiedEmbeddings() ? ", tied" : ""));
    line("context", c.contextLength() + ", positions " + positions(c));
    if (c.compressed()) {
      Table table = new Table("layer", "qk dim", "vo dim", "mlp width");
      for (int i = 0; i < c.layers(); i++) {
        LayerShape s = c.shapes().get(i);
        table.row(i, s.qkDim(), s.voDim(), s.mlpWidth());
      }
      output.out().print(table);
    }
    if (listTensors) {
      Table table = new Table("tensor", "dtype", "shape", "bytes");
      for (String name : model.tensors().names()) {
        TensorInfo info = model.tensors().info(name);
        table.row(name, info.dtype(), info.shape(), info.bytes());
      }
      output.out().print(table);
    }
  }

  private void line(String key, String value) {
    output.out().printf(Locale.ROOT, "%-13s %s%n", key, value);
  }
}
