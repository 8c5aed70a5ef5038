package org.modegpt.report;

import static org.assertj.core.api.Assertions.assertThat;

import java.io.ByteArrayInputStream;
import java.nio.charset.StandardCharsets;
import java.util.List;
import javax.xml.parsers.DocumentBuilderFactory;
import org.junit.jupiter.api.Test;
import org.w3c.dom.Document;

class TradeOffPlotTest {

  @Test
  void isWellFormedWithAPointForEveryModel() throws Exception {
    String svg =
        TradeOffPlot.svg(
            "a <b> & c",
            List.of(
                new TradeOffPlot.Point("original", 15e6, 38.7),
                new TradeOffPlot.Point("20 %", 13e6, 44.8)));
    Document document =
        DocumentBuilderFactory.newInstance()
            .newDocumentBuilder()
            .parse(new ByteArrayInputStream(svg.getBytes(StandardCharsets.UTF_8)));
    assertThat(document.getElementsByTagName("circle").getLength()).isEqualTo(2);
    assertThat(svg).contains("original: 38.70", "20 %: 44.80", "a &lt;b&gt; &amp; c");
  }

  @Test
  void oneModelIsAPlotToo() {
    assertThat(TradeOffPlot.svg("one", List.of(new TradeOffPlot.Point("m", 1e6, 9))))
        .doesNotContain("NaN")
        .doesNotContain("Infinity");
  }
}
