package org.modegpt.model;

import java.nio.file.Path;
import java.util.List;
import org.modegpt.backend.Backend;
import org.modegpt.backend.Backends;
import org.modegpt.model.Transformer.Residence;

/// What a model makes of a text, by one forward pass on the CPU.
public final class ModelLogits {
  private ModelLogits() {}

  /// Logits `[tokens, vocabulary]`, one row after the other.
  public static float[] of(Path path, int... ids) {
    try (Transformer model = Transformer.open(path);
        Backend backend = Backends.open("cpu", 2);
        StreamingPass pass = new StreamingPass(backend, model, 1, ids.length);
        LanguageHead head = new LanguageHead(backend, model, Residence.F32)) {
      pass.embed(List.of(ids));
      for (int layer = 0; layer < model.config().layers(); layer++) {
        pass.block(layer, StreamingPass.LayerTap.NONE);
      }
      return head.logits(pass.stream()).toFloats();
    }
  }
}
