import type { JsonValue } from "../../domain/json.js";
import type { ValueSelector } from "../../domain/process/event-type.js";
import type { ProcessRegistry } from "../../kernel/process/registry.js";
import { casesOn, type OpenFixture, type Runner, refusalMismatch, SCOPES, task } from "../kit/fixture.js";

const NO_MATCH = Symbol("did not match");

/** The document of RFC 6901, with cases that it leaves open. */
const DOCUMENT: JsonValue = {
  "": "empty name",
  "a/b": "slash",
  "m~n": "tilde",
  "~1": "looks escaped",
  "01": "digits",
  " ": "blank",
  é: "accent",
  list: ["zero", { deep: [true] }],
  text: "abc",
  nil: null,
  no: false,
};

const POINTERS: [pointer: string, value: JsonValue | typeof NO_MATCH][] = [
  ["", DOCUMENT],
  ["/", "empty name"],
  ["/a~1b", "slash"],
  ["/m~0n", "tilde"],
  ["/~01", "looks escaped"],
  ["/01", "digits"],
  ["/ ", "blank"],
  ["/é", "accent"],
  ["/list/0", "zero"],
  ["/list/1/deep/0", true],
  ["/nil", null],
  ["/no", false],
  ...[
    "list",
    "#/list",
    "/missing",
    "/list/",
    "/list/2",
    "/list/-",
    "/list/-1",
    "/list/00",
    "/list/01",
    "/list/1.0",
    "/list/1e0",
    "/list/ 1",
  ].map((pointer): [string, typeof NO_MATCH] => [pointer, NO_MATCH]),
  ...[
    "/list/length",
    "/list/map",
    "/text/0",
    "/text/length",
    "/nil/x",
    "/no/x",
    "/a/b",
    "/toString",
    "/constructor",
    "/__proto__",
    "/list/4294967296",
  ].map((pointer): [string, typeof NO_MATCH] => [pointer, NO_MATCH]),
];

const fill = (template: string, fields: Record<string, ValueSelector>): ValueSelector => ({ template, fields });
const at = (pointer: string): ValueSelector => ({ pointer });

const TEMPLATES: [name: string, selector: ValueSelector, payload: JsonValue, text: string | typeof NO_MATCH][] = [
  [
    "fields are filled in, each as often as it stands there",
    fill("{a}-{b}-{a}", { a: at("/a"), b: at("/b") }),
    { a: "x", b: 2 },
    "x-2-x",
  ],
  ["what a field brings is not looked at again", fill("{a}{b}", { a: at("/a"), b: at("/b") }), { a: "{b}", b: "{a}" }, "{b}{a}"],
  [
    "a field cannot pull in another across its own edge",
    fill("{{a}}", { a: at("/a"), secret: at("/s") }),
    { a: "secret", s: "no" },
    "{secret}",
  ],
  ["nor can two fields together", fill("{a}b}", { a: at("/a"), ab: at("/s") }), { a: "{a", s: "no" }, "{ab}"],
  ["signs of a replacement pattern stay", fill("<{a}>", { a: at("/a") }), { a: "$& $1 $$ $`" }, "<$& $1 $$ $`>"],
  ["other braces stay", fill("{} {x} { a } {a", { a: at("/a") }), { a: 1 }, "{} {x} { a } {a"],
  [
    "names of Object.prototype are no fields",
    fill("{toString} {constructor} {__proto__}", {}),
    {},
    "{toString} {constructor} {__proto__}",
  ],
  ["a field may be called like one of Object.prototype", fill("{toString}", { toString: at("/a") }), { a: 1 }, "1"],
  ["a template without fields is its own text", fill("plain", {}), null, "plain"],
  ["an empty text fills in nothing", fill("<{a}>", { a: at("/a") }), { a: "" }, "<>"],
  ["an empty template is an empty text", fill("", { a: at("/a") }), { a: 1 }, ""],
  [
    "values that are no strings are compact JSON",
    fill("{a}{b}{c}", { a: at("/a"), b: at("/b"), c: at("/c") }),
    { a: null, b: [1, "x"], c: { d: true } },
    'null[1,"x"]{"d":true}',
  ],
  [
    "a field may be any selector",
    fill("{a} {b} {c}", { a: { const: "k" }, b: { present: "/x" }, c: fill("<{d}>", { d: at("/d") }) }),
    { d: "{a}" },
    "k false <{a}>",
  ],
  ["a missing value fails", fill("{a}", { a: at("/a") }), {}, NO_MATCH],
  ["a missing value fails even where the template does not use it", fill("x", { a: at("/a") }), {}, NO_MATCH],
  ["a missing value fails inside another template", fill("{a}", { a: fill("{b}", { b: at("/b") }) }), {}, NO_MATCH],
];

const TEXTS: [value: JsonValue, text: string][] = [
  ["as it is\n", "as it is\n"],
  ["", ""],
  ['"quoted"', '"quoted"'],
  [null, "null"],
  [true, "true"],
  [-0.5, "-0.5"],
  [1e21, "1e+21"],
  [[], "[]"],
  [{ a: [1, { b: " " }] }, '{"a":[1,{"b":" "}]}'],
];

const TRUTH: [value: JsonValue, wakes: boolean][] = [
  [null, false],
  [false, false],
  [true, true],
  ["", false],
  [" ", true],
  ["false", true],
  ["0", true],
  [0, true],
  [-1, true],
  [[], false],
  [[null], true],
  [{}, false],
  [{ a: false }, true],
];

/** Selectors: values taken out of payloads. */
export function selectorCases(open: OpenFixture, runner: Runner): void {
  const { expect } = runner;
  const { promise } = casesOn(open, runner);
  let rows = 0;

  /** The output that a completed type of the process's own selects. */
  async function selected(processes: ProcessRegistry, selector: ValueSelector, payload: JsonValue): Promise<unknown> {
    const id = `select ${++rows}`;
    const end = { name: "end", semantics: { terminal: { state: "completed" as const, awaitOutput: selector } } };
    await processes.registerProcess(task(id, { eventTypes: [end] }));
    const appending = processes.appendEvent(id, { eventType: "end", payload, replayKey: "k" });
    const wrong = await refusalMismatch(appending, "invalid", "did not match");
    if (wrong === undefined) return (await processes.eventsAfter(id, 0)).length === 0 ? NO_MATCH : "refused, but stored";
    const output = (await appending).event.semantics.terminal?.awaitOutput;
    return output?.type === "success" ? output.value : output;
  }

  /** The text of the wake that a type of the process's own selects. */
  async function woken(
    processes: ProcessRegistry,
    input: ValueSelector,
    payload: JsonValue,
    when?: ValueSelector,
  ): Promise<string | undefined> {
    const id = `wake ${++rows}`;
    const wake = { input, ...(when !== undefined && { when }) };
    await processes.registerProcess(task(id, { eventTypes: [{ name: "wake", semantics: { wake } }] }));
    return (await processes.appendEvent(id, { eventType: "wake", payload, wakeTarget: SCOPES.one })).wakeDelivery?.input;
  }

  promise("a payload selector takes the whole payload, a constant none of it (P-70)", async ({ processes }) => {
    for (const payload of [null, 0, "", [], {}, { a: [1] }] as JsonValue[]) {
      expect(await selected(processes, "payload", payload)).toEqual(payload);
      expect(await selected(processes, { const: payload }, "other")).toEqual(payload);
    }
  });

  promise("a pointer leads to one place of the payload or does not match (P-70, P-71)", async ({ processes }) => {
    for (const [pointer, value] of POINTERS) {
      expect([pointer, await selected(processes, { pointer }, DOCUMENT)]).toEqual([pointer, value]);
    }
    for (const payload of [null, 1, "text", true, []])
      expect(await selected(processes, { pointer: "/a" }, payload)).toBe(NO_MATCH);
  });

  promise("present says whether a pointer leads anywhere; null is something (P-70)", async ({ processes }) => {
    for (const [pointer, value] of POINTERS) {
      expect([pointer, await selected(processes, { present: pointer }, DOCUMENT)]).toEqual([pointer, value !== NO_MATCH]);
    }
  });

  promise("a template is filled in one pass (P-73)", async ({ processes }) => {
    for (const [name, selector, payload, text] of TEMPLATES) {
      expect([name, await selected(processes, selector, payload)]).toEqual([name, text]);
    }
  });

  promise("the text of a value is the string itself or compact JSON (P-72)", async ({ processes }) => {
    for (const [value, text] of TEXTS) expect([value, await woken(processes, "payload", value)]).toEqual([value, text]);
  });

  promise("every number is true, also 0; null, false and what is empty are not (P-74)", async ({ processes }) => {
    for (const [value, wakes] of TRUTH) {
      expect([value, await woken(processes, { const: "up" }, value, "payload")]).toEqual([value, wakes ? "up" : undefined]);
    }
  });

  promise("a `when` that leads nowhere is refused, not false; `present` asks (P-74)", async ({ processes }) => {
    const wrong = await refusalMismatch(woken(processes, { const: "up" }, {}, { pointer: "/on" }), "invalid", "did not match");
    expect(wrong).toBe(undefined);
    expect(await woken(processes, { const: "up" }, {}, { present: "/on" })).toBe(undefined);
    expect(await woken(processes, { const: "up" }, { on: null }, { present: "/on" })).toBe("up");
  });

  promise("the input of a wake that is not woken may lead nowhere (P-80)", async ({ processes }) => {
    expect(await woken(processes, { pointer: "/text" }, {}, { const: false })).toBe(undefined);
  });
}
