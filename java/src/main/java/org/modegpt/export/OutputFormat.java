package org.modegpt.export;

import java.util.Arrays;
import java.util.Locale;
import java.util.stream.Collectors;
import org.modegpt.UserException;
import org.modegpt.compress.QueryKeyRule;
import org.modegpt.compress.Recipe;
import org.modegpt.model.Design;
import org.modegpt.model.ModelConfig;
import org.modegpt.tensor.DType;

/// What a model is written as, and what that costs. All formats compute the same function; those
/// without per-layer head sizes fill up with zeros what a layer has less than its format can say.
public enum OutputFormat {
  /// Every layer as small as it is; transformers loads it with the code beside it.
  COMPACT(Layout.COMPACT, false),
  /// The original's shapes, zero where something was removed.
  DENSE(Layout.DENSE, false),
  /// One MLP width for all layers, heads as in the original.
  UNIFORM(Layout.UNIFORM, false),
  /// An MLP width per layer in multiples of 256, heads as in the original, in the layout of DeciLM
  /// / nemotron-nas models.
  DECI(Layout.DECI, false),
  GGUF(Layout.DENSE, true),
  GGUF_UNIFORM(Layout.UNIFORM, true),
  GGUF_DECI(Layout.DECI, true);

  /// Which sizes the layers have.
  enum Layout {
    COMPACT,
    DENSE,
    UNIFORM,
    DECI
  }

  /// MLP widths of {@link Layout#DECI}.
  public static final int DECI_MULTIPLE = 256;

  private final Layout layout;
  private final boolean gguf;

  OutputFormat(Layout layout, boolean gguf) {
    this.layout = layout;
    this.gguf = gguf;
  }

  Layout layout() {
    return layout;
  }

  /// Whether it is one GGUF file, not a folder.
  public boolean gguf() {
    return gguf;
  }

  /// Whether every layer has the same MLP width and full heads.
  public boolean uniform() {
    return layout == Layout.UNIFORM;
  }

  /// Whether only the MLP can be smaller, so that a plan should leave the heads alone.
  public boolean mlpOnly() {
    return layout == Layout.UNIFORM || layout == Layout.DECI;
  }

  /// The recipe as far as this format can hold what it makes: in a family's own shapes normalised
  /// queries and keys stay whole, and the other modules give what the ratio asks for.
  public Recipe recipe(Recipe recipe, ModelConfig model) {
    boolean whole = layout == Layout.DENSE && model.design().qkNorm() != Design.QkNorm.NONE;
    return whole ? recipe.withQueryKey(QueryKeyRule.KEEP) : recipe;
  }

  /// The name on the command line, `gguf-deci`.
  public String label() {
    return name().toLowerCase(Locale.ROOT).replace('_', '-');
  }

  public static OutputFormat parse(String name) {
    return Arrays.stream(values())
        .filter(f -> f.label().equalsIgnoreCase(name))
        .findFirst()
        .orElseThrow(() ->
            new UserException(
                "--format must be one of %s, not %s"
                    .formatted(
                        Arrays.stream(values())
                            .map(OutputFormat::label)
                            .collect(Collectors.joining(", ")),
                        name)));
  }

  /// @throws UserException if weights of `dtype` cannot be written in this format
  public void requireType(DType dtype) {
    if (dtype.quantised() && !gguf) {
      throw new UserException(
          "%s is a type of GGUF files: add --format gguf, or choose bf16, f16 or f32"
              .formatted(dtype.label()));
    }
  }
}
