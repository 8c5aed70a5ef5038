package org.modegpt.report;

import java.io.StringWriter;
import java.util.List;
import java.util.Locale;
import javax.xml.stream.XMLOutputFactory;
import javax.xml.stream.XMLStreamException;
import javax.xml.stream.XMLStreamWriter;
import org.modegpt.evaluate.Evaluation;
import org.modegpt.evaluate.Gates;
import org.modegpt.evaluate.TaskResult;

/// An evaluation as JUnit XML, which build servers show: a test for each task (an error when it
/// could not be evaluated) and for each gate (a failure when it does not hold).
public final class JUnitXml {
  private JUnitXml() {}

  public static String of(Evaluation evaluation, List<Gates.Outcome> gates) {
    StringWriter text = new StringWriter();
    try {
      XMLStreamWriter xml = XMLOutputFactory.newInstance().createXMLStreamWriter(text);
      xml.writeStartDocument("UTF-8", "1.0");
      xml.writeStartElement("testsuites");
      xml.writeAttribute("name", "modegpt eval " + evaluation.model().name());
      tasks(xml, evaluation);
      gates(xml, gates);
      xml.writeEndElement();
      xml.writeEndDocument();
      xml.close();
    } catch (XMLStreamException e) {
      throw new IllegalStateException("cannot write XML into memory", e);
    }
    return text + "\n";
  }

  private static void tasks(XMLStreamWriter xml, Evaluation evaluation) throws XMLStreamException {
    List<TaskResult> results = evaluation.model().results();
    double seconds = results.stream().mapToDouble(TaskResult::seconds).sum();
    long errors = results.stream().filter(TaskResult::failed).count();
    suite(xml, "tasks", results.size(), 0, errors, seconds);
    for (TaskResult result : results) {
      testCase(xml, "tasks", result.task().name(), result.seconds());
      if (result.failed()) {
        message(xml, "error", result.error());
      } else {
        StringBuilder out = new StringBuilder();
        result
            .measures()
            .forEach(m ->
                out.append(
                    String.format(
                        Locale.ROOT, "%s %.4f ± %.4f%n", m.label(), m.value(), m.standardError())));
        xml.writeStartElement("system-out");
        xml.writeCharacters(out.toString());
        xml.writeEndElement();
      }
      xml.writeEndElement();
    }
    xml.writeEndElement();
  }

  private static void gates(XMLStreamWriter xml, List<Gates.Outcome> gates)
      throws XMLStreamException {
    if (gates.isEmpty()) {
      return;
    }
    suite(xml, "gates", gates.size(), gates.stream().filter(g -> !g.passed()).count(), 0, 0);
    for (Gates.Outcome gate : gates) {
      testCase(xml, "gates", gate.name(), 0);
      if (!gate.passed()) {
        message(xml, "failure", gate.message());
      }
      xml.writeEndElement();
    }
    xml.writeEndElement();
  }

  private static void suite(
      XMLStreamWriter xml, String name, int tests, long failures, long errors, double seconds)
      throws XMLStreamException {
    xml.writeStartElement("testsuite");
    xml.writeAttribute("name", name);
    xml.writeAttribute("tests", Integer.toString(tests));
    xml.writeAttribute("failures", Long.toString(failures));
    xml.writeAttribute("errors", Long.toString(errors));
    xml.writeAttribute("time", String.format(Locale.ROOT, "%.3f", seconds));
  }

  private static void testCase(XMLStreamWriter xml, String suite, String name, double seconds)
      throws XMLStreamException {
    xml.writeStartElement("testcase");
    xml.writeAttribute("classname", "modegpt." + suite);
    xml.writeAttribute("name", name);
    xml.writeAttribute("time", String.format(Locale.ROOT, "%.3f", seconds));
  }

  private static void message(XMLStreamWriter xml, String kind, String message)
      throws XMLStreamException {
    xml.writeStartElement(kind);
    xml.writeAttribute("message", message);
    xml.writeEndElement();
  }
}
