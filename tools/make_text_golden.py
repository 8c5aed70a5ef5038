"""Writes the golden files of the tokenizer and chat template tests.

Usage: make_text_golden.py DATA      (DATA: folder with tokenizers/qwen3 and tokenizers/mistral)

Needs tokenizers, sentencepiece, transformers. The reference of every tokenizer is the library it
belongs to: sentencepiece for *.model, tokenizers for the rest; of templates, transformers.
"""

import json
import pathlib
import sys

import sentencepiece
from tokenizers import ByteLevelBPETokenizer, Tokenizer
from transformers import AutoTokenizer
from transformers.utils.chat_template_utils import _compile_jinja_template

RESOURCES = pathlib.Path(__file__).parent.parent / "java/src/test/resources"
TOKENIZERS = RESOURCES / "tokenizers"
WIKI = RESOURCES.parent.parent.parent / "demo/text/wikitext2.test.txt"

TEXTS = [
    "", " ", "  ", "a", "Hello world", "  two leading", "trailing  ", "tab\there", "line\n\nbreak\r\n",
    "12345 67.89 1,000,000", "naïve café ÜBER ﬁ ½ Å é", "日本語のテキスト と English", "🙂👩‍👩‍👧‍👦🏳️‍🌈",
    "مرحبا بالعالم", "Привет, мир!", "def f(x):\n    return x ** 2  # square\n\n\tif (a && b) { c->d(); }",
    "http://example.com/a?b=c&d=%20", "\u00a0nbsp\u2003em\u200bzw", "ｆｕｌｌｗｉｄｔｈ ①②", "x" * 200,
    " " * 40 + "y", "'s 'S don't DON'T I'LL", "\U00010348 \u0e33 \u0301x", "\x00\x01\x7f", "a\u0301 e\u0308",
]

CONVERSATIONS = {
    "user": [{"role": "user", "content": " Hi there! <|im_end|> & 'x' \"y\" {{ 1 }} {% if %}\n"}],
    "system": [{"role": "system", "content": "Be brief."}, {"role": "user", "content": "2+2?"}],
    "turns": [
        {"role": "user", "content": "2+2?"},
        {"role": "assistant", "content": "<think>\nhm\n</think>\n\n4"},
        {"role": "user", "content": "And ünïcödé 🙂?"},
    ],
    "wrong": [{"role": "user", "content": "a"}, {"role": "user", "content": "b"}],
}
TOOLS = [{"type": "function", "function": {"name": "add", "description": "Adds <a> & 'b'", "parameters":
          {"type": "object", "properties": {"a": {"type": "number"}, "ü": {"enum": [1, 2.5, None, True]}}}}}]

# What templates use of the language, each with the variables below.
SNIPPETS = [
    "{{ 'a' }}\n", "a\n\n", "  {% if true %}\n  x\n  {% endif %}\ny", "a {%- if true -%} b {%- endif %} c",
    "x  {# gone #}\ny\n  {# line #}\nz", "{%+ if true %}a{% endif %}", "{{- ' a ' -}}  b", "{% raw %}{{ x }}{% endraw %}",
    "{% for i in range(3) %}{{ loop.index }}{{ loop.index0 }}{{ loop.first }}{{ loop.last }}{{ loop.revindex }} {% endfor %}",
    "{% for k, v in d.items() %}{{ k }}={{ v }};{% endfor %}", "{% for x in [] %}a{% else %}none{% endfor %}",
    "{% for x in l if x > 1 %}{{ x }}{{ loop.length }}{% endfor %}", "{% for x in l %}{% if x == 2 %}{% break %}{% endif %}{{ x }}{% endfor %}",
    "{% for x in l %}{% if x == 2 %}{% continue %}{% endif %}{{ x }}{% endfor %}", "{% for x in l %}{% set y = x %}{% endfor %}{{ y is defined }}",
    "{% set ns = namespace(n=0) %}{% for x in l %}{% set ns.n = ns.n + x %}{% endfor %}{{ ns.n }}",
    "{% set a, b = 1, 2 %}{{ a }}{{ b }}", "{% set t %}x{{ 1 + 1 }}{% endset %}{{ t | upper }}",
    "{% macro m(a, b='B') %}[{{ a }}{{ b }}]{% endmacro %}{{ m(1) }}{{ m(1, b=2) }}", "{% filter upper %}abc{% endfilter %}",
    "{{ l[0] }}{{ l[-1] }}{{ l[1:] }}{{ l[::-1] }}{{ l[:-1] }}{{ 'hello'[1:3] }}{{ l[5] is defined }}",
    "{{ d['k'] }}{{ d.k }}{{ d.get('z', 5) }}{{ d.z }}{{ d.z is defined }}{{ 'k' in d }}{{ 'z' not in d }}",
    "{{ 1 + 2 * 3 }} {{ 7 // 2 }} {{ 7 / 2 }} {{ 7 % 3 }} {{ -7 // 2 }} {{ 2 ** 3 }} {{ 'a' * 3 }} {{ 'a' ~ 1 ~ none }} {{ l + [4] }}",
    "{{ 1 < 2 < 3 }} {{ 1 == 1.0 }} {{ 'a' < 'b' }} {{ not true or true }} {{ 1 if false }} {{ 'y' if l else 'n' }} {{ '' or 'd' }}",
    "{{ s.strip() }}|{{ s.lstrip() }}|{{ s.rstrip() }}|{{ 'xxaxx'.strip('x') }}|{{ 'a-b-c'.split('-') }}|{{ 'a-b-c'.split('-', 1)[1] }}|{{ ' a  b '.split() }}",
    "{{ 'abc'.startswith('ab') }}{{ 'abc'.endswith('x') }}{{ 'abc'.upper() }}{{ 'aXb'.replace('X', '-') }}{{ ', '.join(['a', 'b']) }}{{ 'abcabc'.count('b') }}{{ 'a b'.title() }}",
    "{{ s | trim }}|{{ l | length }}|{{ l | first }}|{{ l | last }}|{{ l | join('-') }}|{{ [3,1,2] | sort }}|{{ l | reverse | list }}|{{ z | default('d') }}|{{ '' | default('d', true) }}",
    "{{ d | tojson }}|{{ d | tojson(indent=2) }}|{{ s | tojson }}|{{ [1, 2.5, none, true, 'é<>&'] | tojson }}|{{ [] | tojson(indent=4) }}",
    "{{ m | map(attribute='role') | list }}{{ m | selectattr('role', 'equalto', 'user') | list | length }}{{ m | rejectattr('role', 'equalto', 'user') | map(attribute='content') | join }}",
    "{{ l | select('odd') | list }}{{ l | map('string') | join('+') }}{{ l | sum }}{{ l | max }}{{ [1, 1, 2] | unique | list }}",
    "{{ 'a\nb\n\nc' | indent(2) }}|{{ 'a\nb' | indent(2, true) }}|{{ 'ab' | capitalize }}|{{ '3' | int + 1 }}|{{ 2.5 | int }}|{{ 2.567 | round(1) }}",
    "{{ none is none }}{{ 1 is number }}{{ 'a' is string }}{{ l is iterable }}{{ d is mapping }}{{ l is sequence }}{{ true is boolean }}{{ 3 is odd }}{{ 4 is divisibleby 2 }}{{ z is not defined }}{{ l is not none }}",
    "{{ true }}{{ none }}{{ [1, 'a', \"it's\", none] }}{{ {'a': 1.5} }}{{ 1.0 }}{{ 'q' in 'quick' }}{{ (1, 2) | length }}{{ z }}",
    "{{ d | dictsort | first | first }}{{ d | items | list | length }}{{ '%s-%d' % ('a', 3) }}{{ 'x' | string ~ 1 }}{{ [1,2] == [1,2] }}{{ 'A\\tB\\u00e9' }}",
    "{% if z %}a{% elif l %}b{% else %}c{% endif %}{% generation %}g{% endgeneration %}{{ loop is defined }}",
    "{% for a in l %}{% for b in l %}{{ loop.index }}{% endfor %}{{ loop.index }}{% endfor %}{% for x in 'ab' %}{{ x }}{{ loop.previtem }}{% endfor %}",
    "{{ raise_exception('no') }}", "{{ z.y }}", "{{ 'a' + 1 }}", "{{ l | nofilter }}", "{{ 1 / 0 }}", "{{ z() }}",
]
VARIABLES = {"l": [1, 2, 3], "d": {"k": "v", "a": 1}, "s": "  x y\n", "m": CONVERSATIONS["turns"]}


def tokenizers(data):
    wiki = WIKI.read_text(encoding="utf8")
    texts = TEXTS + [wiki[1000:6000], wiki[200000:220000]]
    ids = {}
    for name in ["mistral-v1", "unigram", "unigram-nfkc", "bpe"]:
        model = sentencepiece.SentencePieceProcessor(model_file=str(TOKENIZERS / name / "tokenizer.model"))
        ids[name] = [model.encode(t) for t in texts]
    model = sentencepiece.SentencePieceProcessor(
        model_file=str(data / "tokenizers/mistral/mistral_instruct_tokenizer_240323.model.v3"))
    ids["mistral-v3"] = [model.encode(t) for t in texts]
    gpt2 = ByteLevelBPETokenizer(str(TOKENIZERS / "gpt2/vocab.json"), str(TOKENIZERS / "gpt2/merges.txt"))
    ids["gpt2"] = [gpt2.encode(t).ids for t in texts]
    qwen3 = Tokenizer.from_file(str(data / "tokenizers/qwen3/tokenizer.json"))
    ids["qwen3"] = [qwen3.encode(t, add_special_tokens=False).ids for t in texts]
    write(TOKENIZERS / "golden.json", {"texts": texts, "ids": ids})


def attempt(source, variables):
    try:
        return {"text": _compile_jinja_template(source).render(**variables)}
    except Exception as e:
        return {"error": str(e)}


def chat(data):
    cases = []
    for path in sorted((RESOURCES / "chat").glob("*.jinja")):
        source = path.read_text(encoding="utf8")
        for messages in CONVERSATIONS.values():
            for tools in (None, TOOLS) if path.stem in ("qwen2.5", "qwen3", "llama3.1", "mistral-nemo") else (None,):
                for prompt in (True, False):
                    variables = {"messages": messages, "tools": tools, "add_generation_prompt": prompt,
                                 "bos_token": "<s>", "eos_token": "</s>", "date_string": "26 Jul 2024"}
                    cases.append({"template": path.name, "variables": variables, **attempt(source, variables)})
    snippets = [{"source": s, "variables": VARIABLES, **attempt(s, VARIABLES)} for s in SNIPPETS]
    qwen3 = AutoTokenizer.from_pretrained(data / "tokenizers/qwen3")
    harmless = [CONVERSATIONS["system"], CONVERSATIONS["turns"]]
    tokens = [{"messages": m, "ids": qwen3.apply_chat_template(m, add_generation_prompt=True, return_dict=False)}
              for m in harmless]
    write(RESOURCES / "chat/golden.json", {"cases": cases, "snippets": snippets, "qwen3": tokens})


def write(path, content):
    path.write_text(json.dumps(content, ensure_ascii=False, indent=None, separators=(",", ":")) + "\n", encoding="utf8")
    print(path, path.stat().st_size)


if __name__ == "__main__":
    folder = pathlib.Path(sys.argv[1])
    tokenizers(folder)
    chat(folder)
