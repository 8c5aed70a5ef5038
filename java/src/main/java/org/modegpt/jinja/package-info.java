/// The part of the Jinja template language that chat templates of language models and prompts of
/// evaluation tasks use, with Python's semantics of values. Written here because the Java libraries
/// for Jinja change what matters in a prompt: white space, Python's methods of strings, and
/// templates inside of values.
///
/// A template cannot reach Java objects, files or the network: values are strings, numbers,
/// booleans, None, lists, maps and the functions of its {@link org.modegpt.jinja.Environment}.
/// Loops, recursion and the size of what is made are limited.
package org.modegpt.jinja;
