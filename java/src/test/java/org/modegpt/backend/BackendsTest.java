package org.modegpt.backend;

import static org.assertj.core.api.Assertions.assertThat;
import static org.assertj.core.api.Assertions.assertThatThrownBy;

import java.util.List;
import org.junit.jupiter.api.Test;
import org.modegpt.UserException;

class BackendsTest {

  @Test
  void everyCandidateIsAvailableOrSaysWhyNot() {
    List<Backends.Candidate> candidates = Backends.candidates();
    assertThat(candidates)
        .extracting(Backends.Candidate::name)
        .containsExactly("cuda", "cpu", "reference");
    for (Backends.Candidate c : candidates) {
      System.out.println(c);
      assertThat(c.reason().isEmpty()).isEqualTo(c.available());
      assertThat(c.description().isEmpty()).isNotEqualTo(c.available());
    }
    assertThat(candidates.getLast().available()).isTrue();
  }

  @Test
  void autoTakesTheFirstThatWorks() {
    String first =
        Backends.candidates().stream()
            .filter(Backends.Candidate::available)
            .findFirst()
            .orElseThrow()
            .name();
    try (Backend b = Backends.open("auto", 1)) {
      assertThat(b.name()).startsWith(first);
    }
  }

  @Test
  void anAskedDeviceIsNeverReplaced() {
    for (Backends.Candidate c : Backends.candidates()) {
      if (c.available()) {
        try (Backend b = Backends.open(c.name(), 1)) {
          assertThat(b.name()).startsWith(c.name());
        }
      } else {
        assertThatThrownBy(() -> Backends.open(c.name(), 1))
            .isInstanceOf(BackendException.class)
            .hasMessage(c.reason());
      }
    }
  }

  @Test
  void badRequestsAreTheUsers() {
    assertThatThrownBy(() -> Backends.open("gpu", 1))
        .isInstanceOf(UserException.class)
        .hasMessageContaining("'gpu'");
    assertThatThrownBy(() -> Backends.open("cpu", -1))
        .isInstanceOf(UserException.class)
        .hasMessageContaining("-1");
    assertThatThrownBy(() -> Backends.cpu(1, "mmx"))
        .isInstanceOf(BackendException.class)
        .hasMessageContaining("mmx");
  }

  /// The test process inherits the environment of its caller: a name forced there would halve the
  /// speed.
  @Test
  void openBlasChoosesItsOwnKernels() {
    String asked = System.getenv("OPENBLAS_CORETYPE");
    String core = OpenBlas.load().coreName();
    System.out.println("OPENBLAS_CORETYPE=" + asked + ", chosen: " + core);
    try (Backend b = Backends.open("cpu", 2)) {
      assertThat(b.describe()).contains("2 threads").contains(core);
    }
  }
}
