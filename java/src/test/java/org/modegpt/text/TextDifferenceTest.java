package org.modegpt.text;

import static org.assertj.core.api.Assertions.assertThat;
import static org.assertj.core.api.Assertions.within;

import java.util.List;
import org.junit.jupiter.api.Test;

class TextDifferenceTest {

  @Test
  void equalFrequenciesAreNoDifference() {
    TextDifference same =
        TextDifference.of(List.of(new int[] {1, 2, 2}), List.of(new int[] {2, 1}, new int[] {2}));
    assertThat(same.divergence()).isCloseTo(0, within(1e-12));
    assertThat(same.unseen()).isZero();
  }

  @Test
  void nothingInCommonIsOneBit() {
    TextDifference apart = TextDifference.of(List.of(new int[] {1}), List.of(new int[] {2, 3}));
    assertThat(apart.divergence()).isCloseTo(1, within(1e-12));
    assertThat(apart.unseen()).isCloseTo(1, within(1e-12));
  }

  @Test
  void countsTokensThatWereNotCalibratedOn() {
    TextDifference partly =
        TextDifference.of(List.of(new int[] {1, 2}), List.of(new int[] {1, 1, 1, 9}));
    assertThat(partly.unseen()).isCloseTo(0.25, within(1e-12));
    assertThat(partly.divergence()).isBetween(0.1, 0.9);
  }
}
