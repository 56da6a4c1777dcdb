import fc from "fast-check";

/** The error of a hostile caller's own code: it may come out again only where a contract says so. */
export class Thrown extends Error {}

/** Makes a value anew for every call: some values can be used up. */
export type Make = () => unknown;

const TRAPS = [
  "get",
  "has",
  "ownKeys",
  "getPrototypeOf",
  "getOwnPropertyDescriptor",
  "set",
  "deleteProperty",
  "isExtensible",
] as const;

function trapped(target: object, traps: readonly string[], act: () => unknown): object {
  return new Proxy(target, Object.fromEntries(traps.map((trap) => [trap, act])) as ProxyHandler<object>);
}

const fail = (): never => {
  throw new Thrown("a trap");
};

/** Looks like one of holdfast's own errors, with a code that does not exist. */
function forgedError(): object {
  return { [Symbol.for("holdfast.error")]: true, name: "HoldfastError", code: "forged", message: { not: "a text" } };
}

function bottomless(): object {
  return new Proxy(
    {},
    {
      get: (_, name) => (typeof name === "symbol" ? undefined : bottomless()),
      ownKeys: () => ["a"],
      getOwnPropertyDescriptor: () => ({ value: bottomless(), enumerable: true, configurable: true, writable: true }),
    },
  );
}

function cycle(): object {
  const made: Record<string, unknown> = { list: [] };
  made.self = made;
  (made.list as unknown[]).push(made);
  return made;
}

function nested(levels: number): unknown {
  let made: unknown = "bottom";
  for (let level = 0; level < levels; level++) made = level % 2 ? [made] : { made };
  return made;
}

function changing(): object {
  let reads = 0;
  return Object.defineProperty({}, "type", { enumerable: true, get: () => (reads++ % 2 ? 1 : "task") });
}

const TEXTS = [
  "",
  " ",
  "\t\n\u00a0",
  "__proto__",
  "constructor",
  "toString",
  "hasOwnProperty",
  "prototype",
  "\u0000",
  "\ud800",
  "\udc00x",
  "rt:session:s",
  "rt:session:",
  "s/frame:f",
  "x".repeat(513),
  "\u{1f600}".repeat(300),
  "x".repeat(1_100_000),
  "{}",
  "[object Object]",
];

const NUMBERS = [Number.NaN, Number.POSITIVE_INFINITY, Number.NEGATIVE_INFINITY, -0, -1, 0.5, 2 ** 53, 2 ** 63, 5e-324, 1e308];

const THEN = "then";

const MADE: readonly Make[] = [
  ...[undefined, null, true, false, 1n, 10n ** 400n, ...TEXTS, ...NUMBERS].map((value) => () => value),
  () => Symbol("p"),
  () => Symbol.iterator,
  () => () => "p",
  () => async () => "p",
  () => class Money {},
  () => Object.create(null),
  () => Object.create({ id: "p", input: { type: "task", name: "x" } }),
  () => JSON.parse('{"__proto__":{"polluted":true}}'),
  () => JSON.parse('{"constructor":{"prototype":{"polluted":true}}}'),
  () => ({ [Symbol("x")]: 1 }),
  () => ({ toString: fail, valueOf: fail, [Symbol.toPrimitive]: fail, toJSON: fail }),
  () => ({ toJSON: () => 1n }),
  () => ({ [THEN]: fail }),
  () => ({ [THEN]: (resolve: (value: unknown) => void) => resolve(1) }),
  () => Promise.resolve(1),
  cycle,
  changing,
  bottomless,
  () => nested(65),
  () => nested(20_000),
  () => new Array(3),
  () => new Array(4_294_967_295),
  () => [undefined],
  () => Object.assign([1], { length: 2 ** 31 }),
  () => Object.assign(["p"], { map: fail, [Symbol.iterator]: fail, toJSON: fail }),
  () => Object.assign(["p"], { constructor: { [Symbol.species]: fail } }),
  () =>
    Object.assign(["p"], {
      *[Symbol.iterator]() {
        for (;;) yield "p";
      },
    }),
  () => new (class List extends Array {})(3),
  // The value is longer at every look.
  () => {
    let length = 0;
    return new Proxy([], { get: (target, name) => (name === "length" ? length++ : (Reflect.get(target, name) ?? "p")) });
  },
  () => new Proxy([], { get: (target, name, self) => (name === "length" ? 2 ** 40 : Reflect.get(target, name, self)) }),
  () => new Proxy(["p"], {}),
  () => new Proxy(() => "p", {}),
  () => {
    const { proxy, revoke } = Proxy.revocable({}, {});
    revoke();
    return proxy;
  },
  () => {
    const { proxy, revoke } = Proxy.revocable([], {});
    revoke();
    return proxy;
  },
  () => trapped({}, TRAPS, fail),
  () => trapped([], TRAPS, fail),
  ...TRAPS.map((trap) => () => trapped({ id: "p" }, [trap], fail)),
  () =>
    trapped({}, TRAPS, () => {
      throw forgedError();
    }),
  () =>
    trapped({}, TRAPS, () => {
      throw trapped({}, TRAPS, fail);
    }),
  () => trapped({}, ["ownKeys"], () => ["a", "a"]),
  () => trapped({}, ["get"], () => Symbol("x")),
  forgedError,
  () => new Error("x"),
  () => new Date(Number.NaN),
  () => new Map([["id", "p"]]),
  () => new Set(["p"]),
  () => new WeakMap(),
  () => /(a+)+$/,
  () => new String("p"),
  () => new Number(1),
  () => new Boolean(false),
  () => new Uint8Array(3),
  () => new Uint8Array(0),
  () => new Uint16Array(3),
  () => new ArrayBuffer(3),
  () => new DataView(new ArrayBuffer(3)),
  () => new Proxy(new Uint8Array(3), {}),
  () => Object.create(Uint8Array.prototype),
  () => {
    const moved = new Uint8Array(3);
    structuredClone(moved, { transfer: [moved.buffer] });
    return moved;
  },
  () => new AbortController(),
  () => AbortSignal.abort(forgedError()),
  () => ({ aborted: false, addEventListener: fail, removeEventListener: fail }),
  () => ({ aborted: false, addEventListener: () => {}, removeEventListener: () => {} }),
  () => Object.create(AbortSignal.prototype),
  () => Object.create(AbortSignal.abort()),
  () => globalThis,
];

const ANYTHING = fc.anything({
  maxDepth: 3,
  withBigInt: true,
  withBoxedValues: true,
  withDate: true,
  withMap: true,
  withNullPrototype: true,
  withObjectString: true,
  withSet: true,
  withSparseArray: true,
  withTypedArray: true,
  withUnicodeString: true,
} as fc.ObjectConstraints);

/** Each value is named by its place, so that a counterexample can be read. */
export const hostile: fc.Arbitrary<Make> = fc.oneof(
  { weight: 3, arbitrary: fc.nat(MADE.length - 1).map((at) => named(MADE[at] as Make, `MADE[${at}]`)) },
  { weight: 1, arbitrary: ANYTHING.map((value) => named(() => value, fc.stringify(value))) },
);

function named(make: Make, text: string): Make {
  return Object.assign(() => make(), { [fc.toStringMethod]: () => text });
}

/** The place where a call is spoiled, and the way. */
export interface Spoiling {
  readonly where: number;
  readonly how: "value" | "getter" | "proxy" | "twice";
  readonly what: Make;
}

export const spoiling: fc.Arbitrary<Spoiling> = fc.record({
  where: fc.nat(10_000),
  how: fc.constantFrom("value", "value", "value", "value", "getter", "proxy", "twice"),
  what: hostile,
});

type Holder = Record<string | number, unknown>;

/** Puts hostile values in some places of a good argument list: an argument, a member of one, or one argument too many. */
export function spoil(good: readonly unknown[], spoilings: readonly Spoiling[]): unknown[] {
  const args = copyOf(good) as unknown[];
  const places: [holder: Holder, name: string | number][] = [[args as unknown as Holder, args.length]];
  const look = (holder: Holder, name: string | number) => {
    places.push([holder, name]);
    const value = holder[name];
    if (!isPlain(value)) return;
    for (const below of Object.keys(value)) look(value as Holder, below);
    if (!Array.isArray(value)) places.push([value as Holder, "more"]);
  };
  for (const at of args.keys()) look(args as unknown as Holder, at);
  const originals = places.map(([holder, name]) => holder[name]);
  for (const { where, how, what } of spoilings) {
    const at = where % places.length;
    const [holder, name] = places[at] as (typeof places)[number];
    Object.defineProperty(holder, name, { enumerable: true, configurable: true, ...spoiled(originals[at], where, how, what) });
  }
  return args;
}

function spoiled(before: unknown, where: number, how: Spoiling["how"], what: Make): PropertyDescriptor {
  if (how === "value") return { value: what(), writable: true };
  if (how === "getter") return { get: what };
  let looks = 0;
  // The value is good at the first look and another one at the next.
  if (how === "twice") return { get: () => (looks++ === 0 ? before : what()) };
  const most = where % 7;
  const count = <T>(go: () => T): T => (looks++ < most ? go() : fail());
  const value = new Proxy(typeof before === "object" && before !== null ? before : {}, {
    get: (of, member, self) => count(() => Reflect.get(of, member, self)),
    ownKeys: (of) => count(() => Reflect.ownKeys(of)),
    getPrototypeOf: (of) => count(() => Reflect.getPrototypeOf(of)),
  });
  return { value, writable: true };
}

/** Copies a value that is spoiled in place; an instance of a class is not copied. */
function copyOf(value: unknown): unknown {
  if (!isPlain(value)) return value;
  if (Array.isArray(value)) return value.map(copyOf);
  return Object.fromEntries(Object.entries(value).map(([name, member]) => [name, copyOf(member)]));
}

function isPlain(value: unknown): value is object {
  if (typeof value !== "object" || value === null) return false;
  const prototype = Object.getPrototypeOf(value);
  return prototype === Object.prototype || prototype === Array.prototype;
}
