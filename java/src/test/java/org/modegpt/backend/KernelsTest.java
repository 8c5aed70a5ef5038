package org.modegpt.backend;

import static org.assertj.core.api.Assertions.assertThat;

import java.io.IOException;
import java.lang.foreign.FunctionDescriptor;
import java.lang.foreign.MemoryLayout;
import java.lang.foreign.MemorySegment;
import java.lang.foreign.ValueLayout;
import java.nio.file.Files;
import java.nio.file.Path;
import java.util.LinkedHashMap;
import java.util.Map;
import java.util.Optional;
import java.util.regex.Matcher;
import java.util.regex.Pattern;
import org.junit.jupiter.api.Test;
import org.modegpt.tensor.DType;

/// Holds the binding to `native/include/modegpt.h`: a missing, extra or differently typed function
/// fails, and so does a number of an enum that differs.
class KernelsTest {

  private static final Pattern PROTOTYPE =
      Pattern.compile("MG_API\\s+([^;()]*?)\\b(mg_\\w+)\\(([^)]*)\\);");

  private static String header() throws IOException {
    String text =
        Files.readString(
            Path.of(System.getProperty("modegpt.repository", ".."), "native/include/modegpt.h"));
    return text.replaceAll("(?s)/\\*.*?\\*/", " ").replaceAll("\\s+", " ");
  }

  private static FunctionDescriptor descriptor(String result, String parameters) {
    MemoryLayout[] arguments =
        parameters.strip().equals("void")
            ? new MemoryLayout[0]
            : Pattern.compile(",")
                .splitAsStream(parameters)
                .map(KernelsTest::layout)
                .toArray(MemoryLayout[]::new);
    return result.strip().equals("void")
        ? FunctionDescriptor.ofVoid(arguments)
        : FunctionDescriptor.of(layout(result), arguments);
  }

  private static MemoryLayout layout(String declaration) {
    if (declaration.contains("*")) {
      return ValueLayout.ADDRESS;
    }
    String type = declaration.strip().replaceAll(" .*", "");
    return switch (type) {
      case "int32_t" -> ValueLayout.JAVA_INT;
      case "int64_t" -> ValueLayout.JAVA_LONG;
      case "float" -> ValueLayout.JAVA_FLOAT;
      default -> throw new AssertionError("a type the binding rules do not know: " + declaration);
    };
  }

  @Test
  void everyPrototypeIsBoundWithItsTypes() throws IOException {
    Map<String, FunctionDescriptor> declared = new LinkedHashMap<>();
    Matcher prototypes = PROTOTYPE.matcher(header());
    while (prototypes.find()) {
      declared.put(prototypes.group(2), descriptor(prototypes.group(1), prototypes.group(3)));
    }
    Kernels kernels =
        new Kernels(name -> Optional.of(MemorySegment.ofAddress(1))); // bound, never called
    assertThat(declared).hasSizeGreaterThan(30);
    assertThat(kernels.descriptors()).containsExactlyInAnyOrderEntriesOf(declared);
  }

  private static int constant(String header, String name) {
    Matcher m = Pattern.compile("\\b" + name + " ?=? (\\d+)").matcher(header);
    assertThat(m.find()).as(name + " in the header").isTrue();
    return Integer.parseInt(m.group(1));
  }

  @Test
  void numbersAgree() throws IOException {
    String header = header();
    assertThat(constant(header, "MG_ABI_VERSION")).isEqualTo(Kernels.ABI_VERSION);
    assertThat(constant(header, "MG_LINEAR_MOST")).isEqualTo(NativeBackend.TOGETHER);
    for (DType dtype : DType.values()) {
      assertThat(constant(header, "MG_" + dtype)).as(dtype.name()).isEqualTo(dtype.code());
    }
    for (Activation activation : Activation.values()) {
      assertThat(constant(header, "MG_" + activation))
          .as(activation.name())
          .isEqualTo(activation.code());
    }
  }
}
