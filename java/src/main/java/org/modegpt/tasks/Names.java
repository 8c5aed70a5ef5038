package org.modegpt.tasks;

import java.util.Collection;
import java.util.Comparator;

/// Helps with mistyped names.
public final class Names {
  private Names() {}

  /// `; did you mean X?`, or nothing when no name is near.
  public static String suggestion(String name, Collection<String> known) {
    return known.stream()
        .min(Comparator.comparingInt(k -> distance(name, k)))
        .filter(k -> distance(name, k) <= Math.max(2, name.length() / 3))
        .map(k -> "; did you mean " + k + "?")
        .orElse("");
  }

  /// Edits (insert, delete, replace a character) from one to the other.
  private static int distance(String a, String b) {
    int[] row = new int[b.length() + 1];
    for (int j = 0; j <= b.length(); j++) {
      row[j] = j;
    }
    for (int i = 1; i <= a.length(); i++) {
      int diagonal = row[0];
      row[0] = i;
      for (int j = 1; j <= b.length(); j++) {
        int replace = diagonal + (a.charAt(i - 1) == b.charAt(j - 1) ? 0 : 1);
        diagonal = row[j];
        row[j] = Math.min(replace, Math.min(row[j], row[j - 1]) + 1);
      }
    }
    return row[b.length()];
  }
}
