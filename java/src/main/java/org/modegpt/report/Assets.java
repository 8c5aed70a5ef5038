package org.modegpt.report;

import java.io.IOException;
import java.io.InputStream;
import java.io.UncheckedIOException;
import java.nio.charset.StandardCharsets;
import java.util.Map;
import org.jspecify.annotations.Nullable;

/// The files of the page, read once from the jar. A request names one of these few paths or gets
/// nothing: none is ever turned into a file name.
final class Assets {
  /// A file as it is sent.
  record Asset(String text, String type) {}

  private static final Map<String, Asset> BY_PATH =
      Map.of(
          "/", asset("index.html", "text/html; charset=utf-8"),
          "/style.css", asset("style.css", "text/css; charset=utf-8"),
          "/chart.js", asset("chartjs/chart.umd.min.js", "text/javascript; charset=utf-8"),
          "/dom.js", asset("dom.js", "text/javascript; charset=utf-8"),
          "/charts.js", asset("charts.js", "text/javascript; charset=utf-8"),
          "/views.js", asset("views.js", "text/javascript; charset=utf-8"),
          "/app.js", asset("app.js", "text/javascript; charset=utf-8"));

  private Assets() {}

  static @Nullable Asset at(String path) {
    return BY_PATH.get(path);
  }

  private static Asset asset(String name, String type) {
    return new Asset(text(name), type);
  }

  /// The text of a resource beside this class.
  static String text(String name) {
    try (InputStream in = Assets.class.getResourceAsStream(name)) {
      if (in == null) {
        throw new IllegalStateException("the jar lacks org/modegpt/report/" + name);
      }
      String text = new String(in.readAllBytes(), StandardCharsets.UTF_8);
      // The library's pointer to its source map would make browsers ask for a file that is not
      // there.
      int map = text.lastIndexOf("//# sourceMappingURL=");
      return map < 0 ? text : text.substring(0, map);
    } catch (IOException e) {
      throw new UncheckedIOException(e);
    }
  }
}
