package org.modegpt.runs;

import java.io.IOException;
import java.io.InputStream;
import java.net.URI;
import java.net.URL;
import java.util.jar.Attributes;
import java.util.jar.Manifest;

/// Which program wrote a run: version and git revision from the manifest of the jar this class is
/// in; `development` for classes in a folder.
final class Version {
  private static final Attributes ATTRIBUTES = attributes();

  private Version() {}

  static String program() {
    String version = ATTRIBUTES.getValue(Attributes.Name.IMPLEMENTATION_VERSION);
    return version == null ? "development" : version;
  }

  static String revision() {
    String revision = ATTRIBUTES.getValue("Git-Revision");
    return revision == null ? "" : revision;
  }

  private static Attributes attributes() {
    URL self = Version.class.getResource("Version.class");
    if (self == null || !self.getProtocol().equals("jar")) {
      return new Attributes();
    }
    String jar = self.toString();
    try (InputStream in =
        URI.create(jar.substring(0, jar.indexOf('!')) + "!/META-INF/MANIFEST.MF")
            .toURL()
            .openStream()) {
      return new Manifest(in).getMainAttributes();
    } catch (IOException e) {
      return new Attributes();
    }
  }
}
