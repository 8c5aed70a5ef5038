/// The part of the Jinja template language that the chat templates of language models use, with
/// Python's semantics of values. Written here because the Java libraries for Jinja change what
/// matters in a prompt: white space, Python's methods of strings, and templates inside of values.
///
/// A template cannot reach Java objects, files or the network: values are strings, numbers,
/// booleans, null, lists, maps and the functions in {@link org.modegpt.chat.jinja.Functions}.
package org.modegpt.chat.jinja;
